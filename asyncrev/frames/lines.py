"""Frames that are lines."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from asyncrev.errors import FrameTooLarge, ProcessorError
from asyncrev.frames.grammar import UNBOUNDED_STEPS, Grammar, OpenEnd, Run, Scan
from asyncrev.native.choice import KERNELS
from asyncrev.native.kernels import Kernels

__all__ = ["Lines", "newline_off"]

_CR = 13
_LF = 10  # a number, because `bytes in bytes` takes 0.5 us longer

# `process_lines` gets no more per call, because each line may temporarily become an object.
_AT_ONCE_BYTES = 16 * 1024
_LINES_PER_CALL = 8  # of `process_lines` cost about as much as a call with one line

# A memoryview has no find. A regular expression needs no copy, but takes 32 us for 64 KiB, where a
# copy and find take 2.6 us. So pieces are copied: a small one first, because a newline is mostly
# near, and none so large that the copy leaves the cache.
_LOOK_BYTES = 1024
_LOOK_MOST_BYTES = 32 * 1024


class Lines(Grammar):
    r"""Frames that end in "\n"; a "\r" directly before it belongs to the line end.

    With native kernels the scans are theirs; the Python code is the reference.
    """

    __slots__ = ()

    _kernels: ClassVar[Kernels | None] = KERNELS

    name = "line"
    tails = (b"\n", b"\r\n")
    forbidden_byte = _LF
    forbidden_name = "a line end"
    method_name = "process_lines"
    method_arguments = "lines"
    trust_name = "keeps_line_ends"
    most_at_once_bytes = _AT_ONCE_BYTES

    def scan(
        self, data: memoryview, max_frame_bytes: int, most_steps: int = UNBOUNDED_STEPS
    ) -> Scan:
        """Find the whole lines at the front of `data`; there are no runs. See `Grammar.scan`.

        A partial line after them that is already too long is also an error (FrameTooLarge). A step
        takes about 1 us and covers `max_frame_bytes` or one line.
        """
        if self._kernels is not None:
            whole_bytes, wrong_bytes, wrong_is_whole, stopped = self._kernels.scan_lines(
                data, max_frame_bytes, most_steps
            )
            if wrong_bytes is None:
                return Scan(whole_bytes, [], None, stopped)
            return Scan(whole_bytes, [], _too_long(wrong_bytes, max_frame_bytes, wrong_is_whole))
        off = 0
        # Lines in the last `max_frame_bytes` bytes cannot be too long, so they are not checked one
        # by one.
        while len(data) - off > max_frame_bytes:
            if not most_steps:
                return Scan(off, [], None, True)
            most_steps -= 1
            next_off = _after_last_newline(data, off, off + max_frame_bytes + 1)
            if next_off == off:
                payload_bytes, line_bytes, whole = _first_line(data[off:], 0)
                if payload_bytes > max_frame_bytes:
                    return Scan(off, [], _too_long(payload_bytes, max_frame_bytes, whole))
                if not whole:
                    break
                next_off = off + line_bytes
            off = next_off
        return Scan(_after_last_newline(data, off, len(data)), [], None)

    def missing(
        self, held: memoryview, chunk: memoryview, max_frame_bytes: int
    ) -> tuple[int, bool]:
        """Return how much of `chunk` belongs to the partial line; see `Grammar.missing`.

        Raises:
            FrameTooLarge: the line, or its part so far, is longer than `max_frame_bytes`.
        """
        if self._kernels is not None:
            taken_bytes, whole, wrong_bytes, wrong_is_whole = self._kernels.rest_line(
                held, chunk, max_frame_bytes
            )
            if wrong_bytes is not None:
                raise _too_long(wrong_bytes, max_frame_bytes, wrong_is_whole)
            return taken_bytes, whole
        payload_bytes, line_bytes, whole = _first_line(chunk, held[-1])
        payload_bytes += len(held)
        if payload_bytes > max_frame_bytes:
            raise _too_long(payload_bytes, max_frame_bytes, whole)
        return line_bytes, whole

    def check_open(self, held: memoryview, max_frame_bytes: int) -> None:
        r"""Check the length of a partial line.

        Raises:
            FrameTooLarge: it is longer than `max_frame_bytes`. A "\r" at its end does not count,
                because it may be the first half of the line end.
        """
        payload_bytes = len(held)
        if payload_bytes > max_frame_bytes:
            payload_bytes -= held[-1] == _CR
            if payload_bytes > max_frame_bytes:
                raise _too_long(payload_bytes, max_frame_bytes, False)

    def spans(self, data: memoryview, runs: Sequence[Run] = ()) -> Iterator[tuple[int, int, int]]:
        """Yield payloads and ends of all whole lines in `data`; see `Grammar.spans`."""
        if self._kernels is not None:
            line_spans = self._kernels.line_spans
            off = 0
            while found := line_spans(data, off):
                yield from found
                off = found[-1][2]
            return
        # One copy of everything, because finding in it takes a fifth of the time of a search in
        # `data`.
        text = data.tobytes()
        start_off = 0
        while newline := text.find(b"\n", start_off) + 1:
            payload_end_off = newline - 1
            if payload_end_off > start_off and text[payload_end_off - 1] == _CR:
                payload_end_off -= 1
            yield start_off, payload_end_off, newline
            start_off = newline

    def end_open(self, held: memoryview, max_frame_bytes: int) -> OpenEnd:
        r"""Return all of it: the last line needs no end. A "\r" at its end belongs to the payload.

        Raises:
            FrameTooLarge: it is longer than `max_frame_bytes`.
        """
        if len(held) > max_frame_bytes:  # a last "\r" is not half of a line end
            raise FrameTooLarge(
                f"the last line has {len(held)} bytes; max_frame_bytes is {max_frame_bytes}"
            )
        return OpenEnd(0, len(held), b"\n")

    def overhead_bytes(self, max_frame_bytes: int) -> int:
        r"""Return the length of "\r\n"."""
        return 2

    def encode_into(
        self, replies: bytearray, payload: bytes | memoryview, tail: bytes | memoryview
    ) -> None:
        """Append payload and line end; see `Grammar.encode_into`.

        Raises:
            ProcessorError: the payload contains a newline.
        """
        if _LF in payload:
            raise self.forbidden(payload)
        replies += payload
        replies += tail

    def forbidden(self, payload: bytes | memoryview) -> ProcessorError:
        """Return the error about a reply that the peer would take for two lines."""
        line = bytes(payload)
        off = line.find(b"\n")
        return ProcessorError(
            f"a reply to one line contains a line end, at byte {off} of {len(line)}: "
            f"{line[max(0, off - 20) : off + 20]!r}; it would be taken for two replies, and shift "
            "all later ones; answer with the payload alone, its line end is added"
        )

    def answer_many(
        self, method: Any, data: memoryview, runs: Sequence[Run], max_frame_bytes: int
    ) -> tuple[object, int, int]:
        """Call `process_lines(lines)`; the number counts lines. See `Grammar.answer_many`."""
        # Before the processor changes them.
        if self._kernels is not None:
            lines = self._kernels.count_lines(data)
        else:
            lines = data.tobytes().count(b"\n")
        replies = method(data)
        # Where lines are nearly as long as allowed, the scan has a step per line.
        looks = min(lines, 2 * data.nbytes // max_frame_bytes)
        return replies, 1 + lines // _LINES_PER_CALL + looks, lines

    def check_many(self, replies: bytes | memoryview, number: int) -> None:
        """Check that the replies to `number` lines are at most as many lines.

        Raises:
            ProcessorError: there are more.
        """
        if self._kernels is not None:
            count = self._kernels.count_lines(replies)
        else:
            count = bytes(replies).count(b"\n")
        if count > number:
            raise ProcessorError(
                f"process_lines answered {number} lines with {count}; the replies would be taken "
                "for those to other lines; answer each with one at most"
            )

    def has_payload(self, data: memoryview, runs: Sequence[Run], payload: bytes) -> bool:
        """Search all of `data` for the payload first; see `Grammar.has_payload`."""
        text = data.tobytes()
        if payload not in text:  # cheap, and nearly always sufficient
            return False
        found = text.split(b"\n")
        del found[-1]  # the empty text after the last line end
        # A "\r" at the end of the payload cannot also belong to the line end.
        return payload + b"\r" in found or (payload in found and not payload.endswith(b"\r"))


def newline_off(data: memoryview, start_off: int) -> int:
    """Return the offset of the first newline from `start_off` on, or the length of `data`."""
    look_bytes = _LOOK_BYTES
    while start_off < len(data):
        found_off = data[start_off : start_off + look_bytes].tobytes().find(b"\n")
        if found_off >= 0:
            return start_off + found_off
        start_off += look_bytes
        look_bytes = min(2 * look_bytes, _LOOK_MOST_BYTES)
    return len(data)


def _after_last_newline(data: memoryview, start_off: int, end_off: int) -> int:
    """Return the offset after the last newline between the offsets, or `start_off`."""
    look_bytes = _LOOK_BYTES
    while end_off > start_off:
        tail_off = max(start_off, end_off - look_bytes)
        found_off = data[tail_off:end_off].tobytes().rfind(b"\n")
        if found_off >= 0:
            return tail_off + found_off + 1
        end_off = tail_off
        look_bytes = min(2 * look_bytes, _LOOK_MOST_BYTES)
    return start_off


def _first_line(data: memoryview, before: int) -> tuple[int, int, bool]:
    r"""Return the length of the first line's payload, the line's length, and whether it is whole.

    `before` is the byte before `data`. If that is a "\r" and `data` begins with "\n", the payload
    ends before `data` and its length is -1.
    """
    end_off = newline_off(data, 0)
    whole = end_off < len(data)
    last = data[end_off - 1] if end_off else before
    return end_off - (last == _CR), end_off + whole, whole


def _too_long(payload_bytes: int, max_frame_bytes: int, whole: bool) -> FrameTooLarge:
    return FrameTooLarge(
        f"a line of {'' if whole else 'at least '}{payload_bytes} bytes was sent; "
        f"max_frame_bytes is {max_frame_bytes}"
    )
