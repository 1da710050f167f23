"""checks: every rule finds a processor that breaks it, and leaves good ones alone."""

import ssl
from typing import Any

import pytest
from hypothesis import strategies as st

from asyncrev import ConnectionInfo, PeerRefused, Reverse, StartTls
from asyncrev.errors import ProcessorError, SettingsError
from asyncrev.testing.checks import check_processor
from tests import framed as frames

FRAMINGS = ["line", "len32", "len64"]


class Plain:
    """What most processors here are but for one method: an echo."""

    def process(self, chunk: memoryview) -> Any:
        """Answer with the chunk."""
        return bytes(chunk)

    def eof(self) -> Any:
        """Answer nothing."""


def message(*args: Any, **settings: Any) -> str:
    """Return what the check says of a processor that breaks a rule."""
    with pytest.raises(AssertionError) as caught:
        check_processor(*args, **settings)
    return str(caught.value)


# -- good ones ---------------------------------------------------------------------------------


def test_function_is_checked_against_its_reference() -> None:
    """The same function is its own reference; another one is told apart, with both answers."""
    check_processor(bytes.upper, reference=bytes.upper, max_examples=40)
    said = message(lambda chunk: chunk.upper(), reference=bytes.lower)
    assert "differ from the reference" in said
    assert "got: b'A'" in said
    assert "expected: b'a' (as the reference)" in said


def test_reverse_depends_on_splits_and_is_right_for_each_chunk() -> None:
    """`split_matters` is what its raw chunks need; then the reference is asked for each."""
    check_processor(
        Reverse, split_matters=True, reference=lambda chunk: chunk[::-1], max_examples=40
    )
    said = message(Reverse)
    assert "depend on the segmentation" in said
    assert said.endswith(r"chunks: [b'\x00', b'\x01']")  # the smallest that there is
    assert "reference" in message(Reverse, split_matters=True, reference=bytes)


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("kind", [k for k in frames.PROCESSORS if k != "moody"])
def test_processors_of_frames_are_good(kind: str, framing: str) -> None:
    """Those of this suite: in place, truncating, longer, silent, with hooks, raising."""
    check_processor(frames.PROCESSORS[kind], framing=framing, raises=ValueError, max_examples=10)


def test_reference_knows_the_last_word_and_what_is_raised() -> None:
    """Of all input; with frames it reads frames."""

    class Strict(Plain):
        def process(self, chunk: memoryview) -> Any:
            if b"!" in bytes(chunk):
                raise ValueError("no")
            return bytes(chunk)

        def eof(self) -> bytes:
            return b"end"

    def reference(data: bytes) -> bytes:
        if b"!" in data:
            raise ValueError("by the reference")
        return data + b"end"

    text = st.text("a!").map(str.encode)
    check_processor(Strict, data=text, reference=reference, raises=ValueError, max_examples=60)
    said = message(Strict, data=text, reference=lambda data: data + b"end", raises=ValueError)
    assert "ValueError('no')" in said


def test_processor_that_holds_a_chunk_but_never_looks_is_good() -> None:
    """A local variable that lives on does no harm."""

    class Holding(Plain):
        def process(self, chunk: memoryview) -> Any:
            self.chunk = chunk
            return chunk

    check_processor(Holding, max_examples=30)


# -- bad ones ----------------------------------------------------------------------------------


class Keeping(Plain):
    """Answers with the chunk before."""

    def __init__(self) -> None:
        self.before: Any = b""

    def process(self, chunk: memoryview) -> Any:
        """Keep the chunk, which is not its own."""
        before, self.before = bytes(self.before), chunk
        return before


class Counting(Plain):
    """Counts for all instances together."""

    count = 0

    def process(self, chunk: memoryview) -> bytes:
        """Answer with the count."""
        Counting.count += len(chunk)
        return b"%d" % Counting.count


class SharingInTurn(Plain):
    """Shares a buffer that is empty again at the end of each connection."""

    buffer = bytearray()

    def process(self, chunk: memoryview) -> None:
        """Collect."""
        SharingInTurn.buffer += chunk

    def eof(self) -> bytes:
        """Answer with what was collected."""
        collected = bytes(SharingInTurn.buffer)
        SharingInTurn.buffer.clear()
        return collected


class Overwriting(Plain):
    """Writes in front of its chunk."""

    def process(self, chunk: memoryview) -> bytes:
        """Do it."""
        chunk.obj[3] = 1  # type: ignore[index]
        return bytes(chunk)


class Overreaching(Plain):
    """Reads behind its chunk."""

    def process(self, chunk: memoryview) -> bytes:
        """Do it."""
        return bytes(chunk.obj[-1:]) * len(chunk)  # type: ignore[index]


class Text(Plain):
    """Answers with what are no bytes."""

    def process(self, chunk: memoryview) -> Any:
        """Do it."""
        return "text"


class Strided(Plain):
    """Answers with a view that has gaps."""

    def process(self, chunk: memoryview) -> memoryview:
        """Do it."""
        return chunk[::-1]


class TextAtEnd(Plain):
    """Answers the end of input with what are no bytes."""

    def eof(self) -> Any:
        """Do it."""
        return 1


class CloseNeedsChunk(Plain):
    """Cannot be closed before its first chunk."""

    def process(self, chunk: memoryview) -> bytes:
        """Get ready for the close."""
        self.ready = True
        return bytes(chunk)

    def close(self) -> None:
        """Look."""
        assert self.ready


class CloseNeedsEof(Plain):
    """Cannot be closed before the end of input, if there was any."""

    open = False

    def process(self, chunk: memoryview) -> bytes:
        """Open."""
        self.open = True
        return bytes(chunk)

    def eof(self) -> None:
        """Shut."""
        self.open = False

    def close(self) -> None:
        """Look."""
        assert not self.open


class Raising(Plain):
    """Raises."""

    def process(self, chunk: memoryview) -> bytes:
        """Do it."""
        raise ZeroDivisionError("none by none")


BAD = [
    (Keeping, "keeps a chunk"),
    (Counting, "instances share state"),
    (SharingInTurn, "instances share state"),
    (Overwriting, "wrote outside its chunk"),
    (Overreaching, "reads outside"),
    (Text, r"process\(\) returned str; it must return bytes"),
    (Strided, "not contiguous"),
    (TextAtEnd, r"eof\(\) returned int"),
    (CloseNeedsChunk, r"close\(\) of a new processor raised AttributeError"),
    (CloseNeedsEof, r"close\(\) raised AssertionError"),
    (Raising, "raised ZeroDivisionError.*`raises`"),
]


@pytest.mark.parametrize(("bad", "says"), BAD, ids=lambda v: getattr(v, "__name__", ""))
def test_rule_finds_the_processor_that_breaks_it(bad: type, says: str) -> None:
    """Named, with input that is as small as it gets."""
    with pytest.raises(AssertionError, match=says) as caught:
        check_processor(bad)
    text = str(caught.value)
    # What instances share outlives an example, and then another one fails: that is not made small.
    is_repeatable = bad not in (Counting, SharingInTurn)
    assert len(text) < (600 if is_repeatable else 8000)
    assert "chunks: " in text or bad is CloseNeedsChunk
    if bad is Raising:
        assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_processor_that_raises_only_for_some_splits_is_found() -> None:
    """An exclamation mark at the end of a chunk: no mistake of the bytes, but of the split."""

    class RaisingAtSplit(Plain):
        def process(self, chunk: memoryview) -> bytes:
            if chunk[-1:] == b"!" and len(chunk) == 2:
                raise ValueError("split")
            return bytes(chunk)

    # One input, so that the search is for the split alone: with any inputs it may find none.
    said = message(RaisingAtSplit, data=st.just(b"a!a!"), raises=ValueError)
    assert "depend on the segmentation" in said
    assert "ValueError('split')" in said


def test_processor_that_depends_on_chance_is_found() -> None:
    """Even if it is not reproduced when Hypothesis tries again."""
    answers = iter([b"a"] * 9 + [b"b"] + [b"a"] * 100_000)

    class Chance(Plain):
        def process(self, chunk: memoryview) -> bytes:
            return next(answers)

    said = message(Chance, data=st.just(b"x"), split_matters=True)
    assert "does not happen every time" in said


@pytest.mark.parametrize("framing", FRAMINGS)
def test_hook_that_answers_otherwise_than_process_is_found(framing: str) -> None:
    """`process_lines` drops a byte of the line end, `process_prefixed` a whole frame."""

    class Hooked(Plain):
        def process_lines(self, lines: memoryview) -> bytes:
            return bytes(lines).replace(b"\r\n", b"\n")

        def process_prefixed(self, data: memoryview, runs: Any, prefix_bytes: int) -> Any:
            return data[: runs[0].start_off + runs[0].payload_bytes]

    said = message(Hooked, framing=framing)
    method = "process_lines" if framing == "line" else "process_prefixed"
    assert f"{method}() gives other replies" in said
    assert "(as by process())" in said


def test_large_input_is_tried() -> None:
    """Nothing of Reverse's fast ways would be seen otherwise; the message stays short."""

    class WrongWhenLarge(Plain):
        def process(self, chunk: memoryview) -> bytes:
            return bytes(chunk) if len(chunk) <= 4096 else b"?" * len(chunk)

    # Of a hundred inputs none is large in one run of thirty.
    said = message(WrongWhenLarge, reference=bytes, max_examples=2000)
    assert len(said) < 1500
    assert "bytes)" in said


def test_what_is_no_processor_is_refused() -> None:
    """As by a server."""
    with pytest.raises(SettingsError, match="not callable"):
        check_processor(3)
    with pytest.raises(SettingsError, match="framing"):
        check_processor(Plain, framing="lines")
    with pytest.raises(ProcessorError, match="process"):
        check_processor(lambda: 3)


class Introduced(Plain):
    """Cannot work before it knows its peer; refuses others than one."""

    def connected(self, info: ConnectionInfo) -> bytes:
        """Greet, or refuse."""
        assert isinstance(info.peer_address, tuple)
        if info.peer_address[0] != "127.0.0.1":
            raise PeerRefused("it is somebody else")
        self.port = info.peer_address[1]
        return b"hello"

    def process(self, chunk: memoryview) -> bytes:
        return bytes(chunk).replace(b"\0", b"%d" % self.port)


def test_processor_is_told_who_its_peer_is() -> None:
    """Its greeting is in no reply."""
    check_processor(Introduced, reference=lambda data: data.replace(b"\0", b"50000"))
    info = ConnectionInfo(peer_address=("127.0.0.1", 7))
    check_processor(Introduced, info=info, reference=lambda data: data.replace(b"\0", b"7"))
    check_processor(Introduced, info=ConnectionInfo(peer_address=("192.0.2.1", 7)))


class GreetsWithText(Plain):
    """Its greeting is not bytes."""

    def connected(self, info: ConnectionInfo) -> Any:
        """Forget to encode."""
        return "hello"


def test_greeting_that_is_not_bytes_is_found() -> None:
    """Like any reply."""
    with pytest.raises(AssertionError, match="a processor returned str"):
        check_processor(GreetsWithText)


CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


class Upgrading(Plain):
    """Asks for TLS."""

    may_start_tls = True
    reply: Any = b"go"

    def process(self, chunk: memoryview) -> Any:
        """Upgrade, or echo."""
        return StartTls(CONTEXT, self.reply) if bytes(chunk) == b"tls" else bytes(chunk)


# A line without an end, too: the end of input finishes it.
REQUESTS = st.lists(st.sampled_from([b"abc\n", b"tls\n", b"tls"])).map(b"".join)


def until_tls(sent: bytes) -> bytes:
    """Return the replies: nothing is one behind the request."""
    lines = sent.split(b"\n")
    if b"tls" not in lines:
        return sent
    index = lines.index(b"tls")
    return b"\n".join([*lines[:index], b"go"]) + b"\n" * (index < len(lines) - 1)


def test_input_ends_where_the_processor_asks_for_tls() -> None:
    """However the bytes are split."""
    check_processor(Upgrading, data=REQUESTS, framing="line", reference=until_tls)
    check_processor(Upgrading, split_matters=True)


def test_upgrade_that_is_not_declared_is_found() -> None:
    """Like an upgrade whose reply is none."""
    undeclared = type("Own", (Upgrading,), {"may_start_tls": False})
    assert "may_start_tls" in message(undeclared, data=st.just(b"tls\n"), framing="line")
    text = type("Own", (Upgrading,), {"reply": "go"})
    assert "process() returned str" in message(text, data=st.just(b"tls\n"), framing="line")
