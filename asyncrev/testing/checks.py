"""Property-based checks of processors, with Hypothesis.

A checked processor runs in the production code (see `lanes`), without a loop or a thread.
"""

from collections.abc import Callable, Sequence
from typing import Any

from asyncrev.connection_info import ConnectionInfo
from asyncrev.errors import RemoteError
from asyncrev.frames.grammar import Grammar
from asyncrev.frames.registry import as_framing
from asyncrev.later_processors import coroutine_factory
from asyncrev.processors import ProcessorFactory, as_factory, check_many_method, make_processor
from asyncrev.testing.driven import Driver
from asyncrev.testing.lanes import (
    INFO,
    OTHER,
    PLAIN,
    FedLane,
    Outcome,
    Violation,
    World,
    shown_chunks,
)
from asyncrev.testing.strategies import chunkings, frame_borders, sendable
from asyncrev.testing.strategies import payloads as framed_payloads

# isort: split
# After `strategies`, whose ImportError says what to install if Hypothesis is missing.
from hypothesis import strategies as st

from asyncrev.testing.search import search

__all__ = ["check_processor"]


_LARGE_BYTES = 5000  # more than a page, and more than `Reverse` reverses with slices

_SHARED = (
    "the same chunks do not always get the same replies: instances share state, or the replies "
    "depend on something else, such as time or chance"
)
_REACHES = (
    "the replies depend on memory that is not the processor's: it keeps a chunk, or reads "
    "outside it"
)


def check_processor(
    factory: Any,
    *,
    data: st.SearchStrategy[bytes] | None = None,
    framing: str | Grammar = "raw",
    split_matters: bool = False,
    reference: Callable[[bytes], bytes] | None = None,
    raises: type[Exception] | tuple[type[Exception], ...] = (),
    info: ConnectionInfo = INFO,
    max_examples: int = 100,
) -> None:
    """Search for inputs and segmentations that make a processor violate its contract.

    The rules:

    - The same bytes give the same replies, however they are split.
    - Replies are contiguous and bytes-like.
    - A processor neither keeps a chunk nor reads or writes outside it.
    - Instances share nothing.
    - The end of input and `close()` work at any time.
    - `process_lines` and `process_prefixed` give the replies that `process` gives.
    - Of an asynchronous processor, calls that overlap give the replies of calls one by one.

    Args:
        factory: a class or factory of processors, a function from bytes to bytes, or a coroutine
            function or class of such methods, which is called on an event loop of the check's own.
        data: what to send; by default any bytes, with framing any whole frames.
        framing: "raw", "line", "len32", "len64" or a `Grammar`; see `BridgeProtocol`.
        split_matters: whether the replies may depend on how the network splits the bytes, as those
            of `Reverse` do for raw chunks. If so, different segmentations are not compared.
        reference: returns the expected replies to the whole input as it is sent (with framing,
            frames), including what `eof()` returns; it may raise what the processor raises. With
            `split_matters` it is called for each chunk, and the result of `eof()` is not compared.
        raises: what the processor may raise. The same bytes must raise the same type wherever they
            are split.
        info: who the peer is, for `connected()`; by default somebody on 127.0.0.1. What that
            returns is in no reply here; the peer may be refused. An input ends where the processor
            returns `StartTls`; what it does over TLS is checked with an `info` that has `tls`.
        max_examples: how many inputs are tried; see Hypothesis' setting of that name.

    Raises:
        AssertionError: a rule is broken; the message has the smallest input and segmentation found,
            the replies, and the expected replies.
        SettingsError: `factory` makes no processors, or there is no such framing.
        ProcessorError: an object that `factory` made is not a processor, or its method for many
            frames cannot be called.
        LocalError: the processor is asynchronous, and an event loop runs in this thread.
    """
    __tracebackhide__ = True
    asynchronous = coroutine_factory(factory)
    if asynchronous is None:
        _check(
            as_factory(factory), framing, data, split_matters, reference, raises, info, max_examples
        )
        return
    with Driver(asynchronous) as driver:
        _check(
            driver.make, framing, data, split_matters, reference, raises, info, max_examples, driver
        )


def _check(
    make: ProcessorFactory,
    framing: str | Grammar,
    data: st.SearchStrategy[bytes] | None,
    split_matters: bool,
    reference: Callable[[bytes], bytes] | None,
    raises: type[Exception] | tuple[type[Exception], ...],
    info: ConnectionInfo,
    max_examples: int,
    driver: Driver | None = None,
) -> None:
    __tracebackhide__ = True
    grammar = as_framing(framing)
    inputs = data if data is not None else _inputs(framing)
    borders = frame_borders(framing) if grammar is not None else ()
    hook = "" if grammar is None else grammar.method_name
    hooked = bool(hook) and hasattr(made := make_processor(make), hook)
    if hooked and grammar is not None:
        check_many_method(made, hook, grammar.method_arguments)

    def run(chunks: Sequence[bytes], world: World = PLAIN, hooks: bool = True) -> Outcome:
        connection = FedLane(make, grammar, world, hooks=hooks, info=info)
        try:
            for chunk in chunks:
                connection.feed(chunk)
            return connection.end()
        except Violation as violation:
            raise _with_chunks(violation, chunks) from violation.__cause__

    def check(draw: Callable[[Any], Any]) -> None:
        sent = draw(inputs)
        chunks = draw(chunkings(sent, borders=borders))
        others = draw(chunkings(inputs, borders=borders))
        try:
            outcome = run(chunks)
            _check_error(outcome, raises)
            if driver is not None and outcome.error is None:
                driver.check_overlapping()
            _check_same(run(chunks), outcome, "another instance", "a first instance", _SHARED)
            _check_same(run(chunks, OTHER), outcome, "other memory", "some memory", _REACHES)
            pair = FedLane(make, grammar, info=info), FedLane(make, grammar, info=info)
            _check_interleaved(pair, (chunks, others), (outcome, run(others)))
            if not split_matters:
                unsplit = run([sent] if sent else [])
                _check_like(
                    outcome, unsplit, "in one piece", "the replies depend on the segmentation"
                )
            if reference is not None:
                if split_matters:
                    _check_reference(reference, outcome._replace(last=b""), chunks)
                else:
                    _check_reference(reference, outcome, [sent])
            if hooked:
                singly = run(chunks, hooks=False)
                _check_like(outcome, singly, "by process()", f"{hook}() gives other replies")
            early = FedLane(make, grammar, info=info)
            for chunk in chunks[:1]:
                early.feed(chunk)
            early.close()  # without an end of input
        except Violation as violation:
            raise _with_chunks(violation, chunks) from violation.__cause__

    close = getattr(make_processor(make), "close", None)
    if close is not None:
        try:
            close()
        except Exception as error:
            raise AssertionError(f"close() of a new processor raised {error!r}") from error
    search(check, max_examples)


def _with_chunks(violation: Violation, chunks: Sequence[bytes]) -> Violation:
    text = str(violation)
    if "\n  chunks: " in text:
        return violation
    return Violation(f"{text}\n  chunks: {shown_chunks(chunks)}")


def _check_error(outcome: Outcome, raises: Any) -> None:
    error = outcome.error
    if error is None or isinstance(error, (RemoteError, raises)):
        return
    raise Violation(
        f"the processor raised {error!r}; pass what it may raise as `raises`"
    ) from error


def _check_same(got: Outcome, wanted: Outcome, got_with: str, wanted_with: str, rule: str) -> None:
    """Fail unless the replies are equal, chunk by chunk."""
    if got[:2] != wanted[:2] or type(got.error) is not type(wanted.error):
        _fail(rule, f"{got} (with {got_with})", f"{wanted} (as with {wanted_with})", got, wanted)


def _check_like(got: Outcome, wanted: Outcome, how: str, rule: str) -> None:
    """Fail unless the replies are equal as a whole."""
    if not got.is_like(wanted):
        _fail(rule, str(got), f"{wanted} (as {how})", got, wanted)


def _check_interleaved(
    connections: tuple[FedLane, FedLane],
    inputs: tuple[list[bytes], list[bytes]],
    alone: tuple[Outcome, Outcome],
) -> None:
    for index in range(max(map(len, inputs))):
        for connection, chunks in zip(connections, inputs, strict=True):
            for chunk in chunks[index : index + 1]:
                connection.feed(chunk)
    got = [connection.end() for connection in connections]
    second = shown_chunks(inputs[1])
    first_way = f"a second instance alternately processing {second}"
    second_way = f"{second} alternately with a first instance processing the chunks below"
    _check_same(got[0], alone[0], first_way, "one instance", _SHARED)
    _check_same(got[1], alone[1], second_way, "one instance", _SHARED)


def _check_reference(
    reference: Callable[[bytes], bytes], outcome: Outcome, chunks: list[bytes]
) -> None:
    try:
        replies = b"".join(map(reference, chunks))
    except Exception as error:
        wanted = Outcome([], b"", error)
    else:
        wanted = Outcome([replies], b"", None)
    _check_like(outcome, wanted, "the reference", "the replies differ from the reference")


def _inputs(framing: str | Grammar) -> st.SearchStrategy[bytes]:
    """Generate any bytes, some of them text, some large; with framing, whole frames."""
    texts = st.text(st.characters(codec="ascii"), max_size=200).map(str.encode)
    grammar = as_framing(framing)
    if grammar is None:
        return st.one_of(st.binary(max_size=200), texts, _large(st.binary(max_size=9)))
    short = framed_payloads(grammar)
    large = _large(framed_payloads(grammar, 9))
    one = st.one_of(short, sendable(grammar, texts), sendable(grammar, large))
    wire = st.builds(grammar.encode, one, st.sampled_from(grammar.tails))
    return st.lists(wire, max_size=12).map(b"".join)


def _large(blocks: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Generate repeated blocks, half of them longer than what code may treat as small."""

    def build(block: bytes, nbytes: int, large: bool) -> bytes:
        # A sum, so that an example that does not fail because of its length shrinks to a short one.
        return block * (1 + (nbytes + _LARGE_BYTES * large) // max(1, len(block)))

    return st.builds(build, blocks, st.integers(0, _LARGE_BYTES), st.booleans())


def _fail(rule: str, got_text: str, wanted_text: str, got: Outcome, wanted: Outcome) -> None:
    text = f"{rule}\n  got: {got_text}\n  expected: {wanted_text}"
    raise Violation(text) from (got.error or wanted.error)
