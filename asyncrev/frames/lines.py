"""Frames that are lines."""

from collections.abc import Iterator

from asyncrev.errors import FrameTooLarge
from asyncrev.frames.grammar import UNBOUNDED_STEPS, Scan

__all__ = ["Lines", "newline_off"]

_CR = 13

# A memoryview has no find. A regular expression needs no copy but looks at byte after byte: 32 us
# for 64 KiB, where to copy and find takes 2.6 us. So pieces are copied, a small one first, for a
# newline is mostly near; and none is so large that the copy leaves the cache.
_LOOK_BYTES = 1024
_LOOK_MOST_BYTES = 32 * 1024


class Lines:
    r"""Frames that end in "\n"; a "\r" directly before it belongs to the line end."""

    __slots__ = ()

    name = "line"

    def scan(
        self, data: memoryview, max_frame_bytes: int, most_steps: int = UNBOUNDED_STEPS
    ) -> Scan:
        """Find the whole lines at the front of `data`; there are no runs. Thread: any.

        An unfinished line behind them that is already too long is an error, too. It takes at most
        `most_steps` steps of about 1 us, each of which looks at `max_frame_bytes` or one line.
        """
        off = 0
        # Bytes that are together no more than a line may have need no look at each line.
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
        """Return how many bytes of `chunk` belong to the line begun, and whether they end it.

        Thread: any. `held`: the beginning of one line, at least a byte, without its end.
        `chunk`: what comes next, at least a byte.

        Raises:
            FrameTooLarge: the line, or what there is of it, is longer than `max_frame_bytes`.
        """
        payload_bytes, line_bytes, whole = _first_line(chunk, held[-1])
        payload_bytes += len(held)
        if payload_bytes > max_frame_bytes:
            raise _too_long(payload_bytes, max_frame_bytes, whole)
        return line_bytes, whole

    def check_open(self, held: memoryview, max_frame_bytes: int) -> None:
        r"""Look at an unfinished line. Thread: any.

        Raises:
            FrameTooLarge: it is longer than `max_frame_bytes`. A "\r" at its end does not count,
                for it may be the first half of the line end.
        """
        payload_bytes = len(held)
        if payload_bytes > max_frame_bytes:
            payload_bytes -= held[-1] == _CR
            if payload_bytes > max_frame_bytes:
                raise _too_long(payload_bytes, max_frame_bytes, False)

    def spans(self, data: memoryview) -> Iterator[tuple[int, int, int]]:
        """Yield where each whole line of `data` begins, its payload ends, and it ends itself.

        Thread: any. `data` may be changed meanwhile.
        """
        # One copy of all, because to find in it takes a fifth of what a search in `data` takes.
        text = data.tobytes()
        start_off = 0
        while newline := text.find(b"\n", start_off) + 1:
            payload_end_off = newline - 1
            if payload_end_off > start_off and text[payload_end_off - 1] == _CR:
                payload_end_off -= 1
            yield start_off, payload_end_off, newline
            start_off = newline


def newline_off(data: memoryview, start_off: int) -> int:
    """Return the offset of the first newline from `start_off` on, or the end without one."""
    look_bytes = _LOOK_BYTES
    while start_off < len(data):
        found_off = data[start_off : start_off + look_bytes].tobytes().find(b"\n")
        if found_off >= 0:
            return start_off + found_off
        start_off += look_bytes
        look_bytes = min(2 * look_bytes, _LOOK_MOST_BYTES)
    return len(data)


def _after_last_newline(data: memoryview, start_off: int, end_off: int) -> int:
    """Return the offset after the last newline between the two, or `start_off` without one."""
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
    r"""Return the first line's payload length, its length, and whether it is whole.

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
