"""Property-based checks of clients' codecs against our framing, with Hypothesis."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from asyncrev.frames.grammar import Grammar
from asyncrev.frames.registry import as_framing
from asyncrev.testing.lanes import FedLane, Violation, shown_chunks
from asyncrev.testing.strategies import chunkings, frame_borders
from asyncrev.testing.strategies import payloads as framed_payloads

# isort: split
# After `strategies`, whose ImportError says what to install if Hypothesis is missing.
from hypothesis import strategies as st

from asyncrev.testing.search import search

__all__ = ["Decoder", "check_framing"]


class Decoder(Protocol):
    """The part of a client's codec that takes received bytes."""

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Return the payloads that `data` completes, in order; keep an unfinished one."""
        ...


def check_framing(
    framing: str | Grammar,
    *,
    encode: Callable[[bytes], bytes],
    decode: Callable[[], Decoder],
    payloads: st.SearchStrategy[bytes] | None = None,
    max_examples: int = 100,
) -> None:
    """Search for payloads and segmentations that a client's codec and our framing disagree on.

    Args:
        framing: "line", "len32", "len64" or a `Grammar`.
        encode: returns the frame that the client sends for a payload. Our framing must pass exactly
            that payload to a processor, whatever is sent before and after it, and however it is
            split.
        decode: makes a `Decoder`, one per connection. It must return the payloads of our framed
            replies, however they are split, each as soon as its last byte is there.
        payloads: what to send; by default `strategies.payloads(framing)`.
        max_examples: how many lists of payloads are tried; see Hypothesis' setting of that name.

    Raises:
        AssertionError: they disagree; the message has the smallest payloads and segmentation found.
        SettingsError: there is no such framing, or it is "raw".
    """
    __tracebackhide__ = True
    borders = frame_borders(framing)
    grammar = as_framing(framing)
    name = framing if grammar is None else grammar.name
    lists = st.lists(payloads if payloads is not None else framed_payloads(framing), max_size=8)

    def encoded(payload: bytes) -> bytes:
        return bytes(memoryview(encode(payload)))  # raises for an int or a str

    def check(draw: Callable[[Any], Any]) -> None:
        wanted = draw(lists)
        sent = b"".join(_called("encode", encoded, payload) for payload in wanted)
        chunks = draw(chunkings(sent, borders=borders))
        got: list[bytes] = []
        connection = FedLane(lambda: _Echo(got), grammar)
        for chunk in chunks:
            connection.feed(chunk)
        if got != wanted or connection.error is not None:
            error = "" if connection.error is None else f", then {connection.error!r}"
            raise Violation(
                f"what encode() made is not what {name} framing reads\n"
                f"  got: {got}{error}\n  expected: {wanted}\n"
                f"  chunks: {shown_chunks(chunks)}"
            )
        replies = connection.end().replies
        pieces = draw(chunkings(replies, borders=borders))
        decoder = _called("decode", decode)
        decoded: list[bytes] = []
        for piece in pieces:
            decoded += map(bytes, _called("feed", decoder.feed, piece))
        if decoded != wanted:
            raise Violation(
                f"the decoder does not read replies of {name} framing\n"
                f"  got: {decoded}\n  expected: {wanted}\n"
                f"  received pieces: {shown_chunks(pieces)}"
            )

    search(check, max_examples)


class _Echo:
    """Replies to every payload with the payload, and keeps a copy in `got`."""

    def __init__(self, got: list[bytes]) -> None:
        self._got = got

    def process(self, chunk: memoryview) -> memoryview:
        self._got.append(bytes(chunk))
        return chunk

    def eof(self) -> None:
        pass


def _called(name: str, function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except Exception as error:
        shown = ", ".join(map(repr, args))
        raise Violation(f"{name}({shown}) raised {error!r}") from error
