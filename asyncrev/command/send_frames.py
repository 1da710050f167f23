"""The bytes of `asyncrev send` as frames: input to wire, and wire to what stdout gets.

With len32 and len64, a line of input is the payload of a frame, and the payload of a reply is a
line of output. With raw and line, input and output are the bytes on the wire.

Each object belongs to one connection and has one thread.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from asyncrev.errors import RemoteError, SettingsError
from asyncrev.frames.grammar import Grammar
from asyncrev.frames.registry import as_framing

__all__ = ["MOST_FRAME_BYTES", "Frame", "FrameReader", "Input", "Output", "batches"]

MOST_FRAME_BYTES = 16 * 2**20
_BATCH_BYTES = 64 * 1024


class Frame(NamedTuple):
    """A whole frame; `tail` is the bytes after the payload on the wire."""

    payload: bytes
    tail: bytes


class FrameReader:
    """Splits a stream into frames; it holds at most one partial frame."""

    def __init__(self, grammar: Grammar, most_bytes: int = MOST_FRAME_BYTES) -> None:
        self._grammar = grammar
        self._most_bytes = most_bytes
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that `data` completes; consume all of them before the next call.

        Raises:
            RemoteError: the bytes after them cannot become a frame of at most `most_bytes`.
        """
        grammar, view = self._grammar, memoryview(data)
        if self._held and view:
            with memoryview(self._held) as held:
                taken_bytes, whole = grammar.missing(held, view, self._most_bytes)
            self._held += view[:taken_bytes]
            if not whole:
                with memoryview(self._held) as held:
                    grammar.check_open(held, self._most_bytes)
                return
            view = view[taken_bytes:]
            frame = bytes(self._held)
            self._held.clear()
            yield from self._whole(memoryview(frame))
        scan = grammar.scan(view, self._most_bytes)
        yield from self._spans(view[: scan.consumed_bytes], scan.runs)
        if scan.error is not None:
            raise scan.error
        self._held += view[scan.consumed_bytes :]

    def rest(self) -> bytes:
        """Return the partial frame at the end of the stream."""
        return bytes(self._held)

    def open_payload(self) -> bytes | None:
        """Return the payload of the frame that the end of the stream completes, or None."""
        if not self._held:
            return None
        try:
            end = self._grammar.end_open(memoryview(bytes(self._held)), self._most_bytes)
        except RemoteError:
            return None
        return bytes(self._held[end.start_off : end.end_off])

    def _whole(self, frame: memoryview) -> Iterator[Frame]:
        return self._spans(frame, self._grammar.scan(frame, self._most_bytes).runs)

    def _spans(self, data: memoryview, runs: list) -> Iterator[Frame]:  # type: ignore[type-arg]
        for start_off, end_off, frame_end_off in self._grammar.spans(data, runs):
            yield Frame(bytes(data[start_off:end_off]), bytes(data[end_off:frame_end_off]))


class Input:
    """Makes wire bytes of input, piece by piece.

    Attributes:
        units: what the wire bytes have so far: frames, or bytes with raw. A line without its end
            is not counted, because it is answered at the end of the input.
    """

    def __init__(self, framing: str) -> None:
        self._grammar = as_framing(framing)
        prefixed = self._grammar is not None and self._grammar.forbidden_byte is None
        line = as_framing("line")
        assert line is not None
        self._lines = FrameReader(line) if prefixed else None
        self.units = 0

    def feed(self, data: bytes) -> bytes:
        """Return the wire bytes for the next piece of the input.

        Raises:
            SettingsError: a line is longer than the longest frame.
        """
        if self._grammar is None or self._lines is None:
            self.units += len(data) if self._grammar is None else data.count(b"\n")
            return data
        wire = bytearray()
        try:
            for frame in self._lines.feed(data):
                self._grammar.encode_into(wire, frame.payload, b"")
                self.units += 1
        except RemoteError:
            raise SettingsError(
                f"the input has a line of more than {MOST_FRAME_BYTES} bytes; with this --framing, "
                "each line is a frame, of at most so many bytes"
            ) from None
        return bytes(wire)

    def end(self) -> bytes:
        """Return the wire bytes for a last line without its end."""
        rest = b"" if self._lines is None else self._lines.rest()
        return self.payload(rest) if rest else b""

    def payload(self, data: bytes) -> bytes:
        """Return the wire bytes for `data` that was given whole: one frame, or lines.

        A line end is added if the framing is line and there is none.
        """
        if self._lines is not None and self._grammar is not None:
            self.units += 1
            return self._grammar.encode(data)
        if self._grammar is not None and not data.endswith(b"\n"):
            data += b"\n"
        return self.feed(data)


class Output:
    """Makes output of replies.

    Attributes:
        units: as those of `Input`.
        is_wire: whether output is the bytes of the wire.
    """

    def __init__(self, framing: str) -> None:
        self._grammar = as_framing(framing)
        prefixed = self._grammar is not None and self._grammar.forbidden_byte is None
        self._frames = FrameReader(self._grammar) if prefixed and self._grammar else None
        self.is_wire = self._frames is None
        self.units = 0

    def feed(self, wire: bytes) -> bytes:
        """Return the output for the next bytes from the wire.

        Raises:
            RemoteError: they cannot become a frame.
        """
        if self._frames is None:
            self.units += len(wire) if self._grammar is None else wire.count(b"\n")
            return wire
        lines = bytearray()
        for frame in self._frames.feed(wire):
            lines += frame.payload
            lines += b"\n"
            self.units += 1
        return bytes(lines)

    def incomplete_bytes(self) -> int:
        """Return how many bytes of an incomplete frame are held."""
        return 0 if self._frames is None else len(self._frames.rest())


def batches(wire: bytes, times: int) -> Iterable[bytes]:
    """Yield `wire` so many times over, in pieces of about 64 KiB."""
    if len(wire) >= _BATCH_BYTES:
        for _ in range(times):
            for off in range(0, len(wire), _BATCH_BYTES):
                yield wire[off : off + _BATCH_BYTES]
    elif wire:
        at_once = _BATCH_BYTES // len(wire)
        yield from itertools.repeat(wire * at_once, times // at_once)
        if times % at_once:
            yield wire * (times % at_once)
