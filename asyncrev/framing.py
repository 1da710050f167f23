"""The grammar of frames: where they begin and end in bytes.

Nothing is kept here and nothing waits: a caller brings bytes, and is told which of them are whole
frames. What is left over is the beginning of a frame; the caller holds it, and asks with each
later chunk how many bytes of it are `missing`.

A frame that is too large is an error of what comes after the frames before it. So `scan` returns
it instead of raising, and those before are answered first.
"""

import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from asyncrev.errors import FrameTooLarge, ProcessorError, SettingsError

__all__ = [
    "FRAMINGS",
    "UNBOUNDED_STEPS",
    "Framing",
    "Lines",
    "Prefixed",
    "Run",
    "Scan",
    "as_framing",
    "newline_off",
    "prefixed_spans",
]

UNBOUNDED_STEPS = sys.maxsize

_CR = 13

# A memoryview has no find. A regular expression needs no copy but looks at byte after byte: 32 us
# for 64 KiB, where to copy and find takes 2.6 us. So pieces are copied, a small one first, for a
# newline is mostly near; and none is so large that the copy leaves the cache.
_LOOK_BYTES = 1024
_LOOK_MOST_BYTES = 32 * 1024

# After this many equal lengths in a row, the prefix that lies a run ahead is looked at; if it is
# the same again, the frames ahead are compared at once. One frame takes 110 ns alone; in 64 KiB
# of frames of 64 bytes it takes 10 ns (15 ns with len64).
_TRY_AFTER_FRAMES = 8
_TRY_AHEAD_FRAMES = 16
_TRY_TO_BYTES = 2048  # length of such a frame, for all are copied: 16 of 2 KiB cost what they gain
_WINDOW_FRAMES = 64
_WINDOW_MOST_FRAMES = 1024


class Run(NamedTuple):
    """Frames of equal length, one directly after another.

    Attributes:
        start_off: where the payload of the first one begins.
        payload_bytes: length of each payload; the next one begins this and a prefix further.
        frames: how many.
    """

    start_off: int
    payload_bytes: int
    frames: int


class Scan(NamedTuple):
    """What `scan` found.

    Attributes:
        consumed_bytes: length of the whole frames at the front.
        runs: those frames, in order. Lines have none.
        error: why what follows them cannot become a frame; None when it can.
        stopped: whether the scan stopped because of `most_steps`, so more whole frames may follow.
    """

    consumed_bytes: int
    runs: list[Run]
    error: FrameTooLarge | None
    stopped: bool = False


class Prefixed:
    """Frames of a big-endian payload length and the payload.

    Attributes:
        name: what users call it.
        prefix_bytes: length of the length, 4 or 8.
    """

    __slots__ = ("_unpack_from", "name", "prefix_bytes")

    def __init__(self, name: str, prefix_bytes: int) -> None:
        self.name = name
        self.prefix_bytes = prefix_bytes
        self._unpack_from = struct.Struct({4: ">I", 8: ">Q"}[prefix_bytes]).unpack_from

    def scan(
        self, data: memoryview, max_frame_bytes: int, most_steps: int = UNBOUNDED_STEPS
    ) -> Scan:
        """Find the whole frames at the front of `data`. Thread: any.

        It takes at most `most_steps` steps of about 0.1 us, each of which finds one frame or many,
        and so at most as many runs.
        """
        unpack_from, prefix_bytes = self._unpack_from, self.prefix_bytes
        data_bytes = len(data)
        last_prefix_off = data_bytes - prefix_bytes
        runs: list[Run] = []
        error = None
        stopped = False
        off = run_off = frames = 0
        run_payload_bytes = stride = -1
        try_at = _TRY_AFTER_FRAMES
        for _ in range(most_steps):
            if off > last_prefix_off:
                break
            (payload_bytes,) = unpack_from(data, off)
            if payload_bytes != run_payload_bytes:
                if payload_bytes > max_frame_bytes:
                    error = _announced(payload_bytes, max_frame_bytes)
                    break
                if off + prefix_bytes + payload_bytes > data_bytes:
                    break
                if frames:
                    runs.append(Run(run_off + prefix_bytes, run_payload_bytes, frames))
                run_off, run_payload_bytes, frames = off, payload_bytes, 1
                stride = prefix_bytes + payload_bytes
                off += stride
                continue
            if off + stride > data_bytes:
                break
            frames += 1
            off += stride
            if frames == try_at and stride <= _TRY_TO_BYTES:
                ahead_off = off + (_TRY_AHEAD_FRAMES - 1) * stride
                prefix = data[off - stride : off - stride + prefix_bytes]
                if data[ahead_off : ahead_off + prefix_bytes] == prefix:
                    more_frames = _equal_frames(data, off, stride, prefix.tobytes())
                    frames += more_frames
                    off += more_frames * stride
                    # Less comes only of bytes made up to look like a run; that shall not pay.
                    if more_frames < _TRY_AHEAD_FRAMES:
                        try_at *= 2
        else:
            stopped = True
        if frames:
            runs.append(Run(run_off + prefix_bytes, run_payload_bytes, frames))
        return Scan(off, runs, error, stopped)

    def missing(
        self, held: memoryview, chunk: memoryview, max_frame_bytes: int
    ) -> tuple[int, bool]:
        """Return how many bytes of `chunk` belong to the frame begun, and whether they end it.

        Thread: any. `held`: the beginning of one frame, at least a byte, not whole. `chunk`:
        what comes next, at least a byte.

        Raises:
            FrameTooLarge: the prefix is known, and announces more than `max_frame_bytes`.
        """
        held_bytes, chunk_bytes = len(held), len(chunk)
        prefix_bytes = self.prefix_bytes
        if held_bytes >= prefix_bytes:
            (payload_bytes,) = self._unpack_from(held)
        elif held_bytes + chunk_bytes >= prefix_bytes:
            prefix = bytes(held) + bytes(chunk[: prefix_bytes - held_bytes])
            payload_bytes = int.from_bytes(prefix, "big")
        else:
            return chunk_bytes, False
        if payload_bytes > max_frame_bytes:
            raise _announced(payload_bytes, max_frame_bytes)
        wanted_bytes = prefix_bytes + payload_bytes - held_bytes
        if wanted_bytes <= chunk_bytes:
            return wanted_bytes, True
        return chunk_bytes, False

    def wrap(self, payload_bytes: int) -> bytes:
        """Return the prefix of a reply of `payload_bytes`.

        Raises:
            ProcessorError: the length does not fit the prefix.
        """
        try:
            return payload_bytes.to_bytes(self.prefix_bytes, "big")
        except OverflowError:
            raise ProcessorError(
                f"a reply of {payload_bytes} bytes has no {self.name} prefix; it may be at most "
                f"{256**self.prefix_bytes - 1} bytes long"
            ) from None

    def check_open(self, held: memoryview, max_frame_bytes: int) -> None:
        """Do nothing: `scan` and `missing` have looked at the prefix of an unfinished frame."""

    def expected_bytes(self, held: memoryview) -> int | None:
        """Return the length of the frame that `held` begins, or None before its prefix is whole."""
        if len(held) < self.prefix_bytes:
            return None
        (payload_bytes,) = self._unpack_from(held)
        return self.prefix_bytes + int(payload_bytes)


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


Framing: TypeAlias = Prefixed | Lines

FRAMINGS: Mapping[str, Framing] = MappingProxyType(
    {"line": Lines(), "len32": Prefixed("len32", 4), "len64": Prefixed("len64", 8)}
)


def as_framing(name: str) -> Framing | None:
    """Return the grammar called `name`; None for "raw", which has no frames.

    Raises:
        SettingsError: there is no such grammar; the message names those that there are.
    """
    if name == "raw":
        return None
    framing = FRAMINGS.get(name)
    if framing is None:
        raise SettingsError(f"framing is {name!r}; it must be one of raw, {', '.join(FRAMINGS)}")
    return framing


def prefixed_spans(runs: Iterable[Run], prefix_bytes: int) -> Iterator[tuple[int, int, int]]:
    """Yield where each frame's payload begins, its payload ends, and it ends itself.

    Thread: any. What `Lines.spans` is for lines.
    """
    for start_off, payload_bytes, frames in runs:
        step_bytes = prefix_bytes + payload_bytes
        for off in range(start_off, start_off + frames * step_bytes, step_bytes):
            end_off = off + payload_bytes
            yield off, end_off, end_off


def _equal_frames(data: memoryview, off: int, stride: int, prefix: bytes) -> int:
    """Return how many frames from `off` on, each `stride` long, begin with `prefix`."""
    found_frames = 0
    window_frames = _WINDOW_FRAMES
    while True:
        ahead_frames = min(window_frames, (len(data) - off) // stride)
        # Every step of a slice of bytes takes a nanosecond, of a memoryview five.
        text = data[off : off + ahead_frames * stride].tobytes()
        # The last byte first: where lengths differ, it nearly always does.
        for byte_off in range(len(prefix) - 1, -1, -1):
            column = text[byte_off : ahead_frames * stride : stride]
            value = prefix[byte_off : byte_off + 1]
            if column != value * ahead_frames:
                ahead_frames -= len(column.lstrip(value))
        found_frames += ahead_frames
        if ahead_frames < window_frames:
            return found_frames
        off += ahead_frames * stride
        window_frames = min(4 * window_frames, _WINDOW_MOST_FRAMES)


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


def _announced(payload_bytes: int, max_frame_bytes: int) -> FrameTooLarge:
    return FrameTooLarge(
        f"a frame of {payload_bytes} bytes was announced; max_frame_bytes is {max_frame_bytes}"
    )


def _too_long(payload_bytes: int, max_frame_bytes: int, whole: bool) -> FrameTooLarge:
    return FrameTooLarge(
        f"a line of {'' if whole else 'at least '}{payload_bytes} bytes was sent; "
        f"max_frame_bytes is {max_frame_bytes}"
    )
