"""Frames of a big-endian payload length and the payload."""

import struct
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from asyncrev.errors import FrameTooLarge, IncompleteFrame, ProcessorError
from asyncrev.frames.grammar import (
    CALLS_PER_RUN,
    UNBOUNDED_STEPS,
    Grammar,
    OpenEnd,
    Run,
    Scan,
)
from asyncrev.native.choice import KERNELS
from asyncrev.native.kernels import Kernels

__all__ = ["Prefixed"]

# After this many equal lengths in a row, the prefix a run ahead is compared; if it is equal, too,
# the frames up to there are compared in one go. A single frame takes 110 ns; in 64 KiB of frames of
# 64 bytes each takes 10 ns (15 ns with len64).
_TRY_AFTER_FRAMES = 8
_TRY_AHEAD_FRAMES = 16
_TRY_TO_BYTES = 2048  # of longer frames, the copy costs more than it saves
_WINDOW_FRAMES = 64
_WINDOW_MOST_FRAMES = 1024


class Prefixed(Grammar):
    """Frames of a big-endian payload length and the payload.

    With native kernels the scans are theirs; the Python code is the reference.

    Attributes:
        prefix_bytes: length of the length, 4 or 8.
    """

    __slots__ = ("_unpack_from", "most_payload_bytes", "name", "prefix_bytes")

    method_name = "process_prefixed"
    method_arguments = "frames, runs, prefix_bytes"

    _kernels: ClassVar[Kernels | None] = KERNELS

    def __init__(self, name: str, prefix_bytes: int) -> None:
        self.name = name
        self.prefix_bytes = prefix_bytes
        self.most_payload_bytes = 256**prefix_bytes - 1
        self._unpack_from = struct.Struct({4: ">I", 8: ">Q"}[prefix_bytes]).unpack_from

    def scan(
        self, data: memoryview, max_frame_bytes: int, most_steps: int = UNBOUNDED_STEPS
    ) -> Scan:
        """Find the whole frames at the front of `data`; see `Grammar.scan`.

        A step takes about 0.1 us, and finds one frame or many. The error is FrameTooLarge.
        """
        if self._kernels is not None:
            whole_bytes, runs, wrong_bytes, stopped = self._kernels.scan_prefixed(
                data, self.prefix_bytes, max_frame_bytes, most_steps, Run
            )
            if wrong_bytes is None:
                return Scan(whole_bytes, runs, None, stopped)
            return Scan(whole_bytes, runs, _announced(wrong_bytes, max_frame_bytes))
        unpack_from, prefix_bytes = self._unpack_from, self.prefix_bytes
        data_bytes = len(data)
        last_prefix_off = data_bytes - prefix_bytes
        runs = []
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
                    # Fewer are found only in bytes that imitate a run; trying less often bounds
                    # their cost.
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
        """Return how much of `chunk` belongs to the partial frame; see `Grammar.missing`.

        Raises:
            FrameTooLarge: the prefix announces more than `max_frame_bytes`.
        """
        if self._kernels is not None:
            taken_bytes, whole, wrong_bytes, _ = self._kernels.rest_prefixed(
                held, chunk, self.prefix_bytes, max_frame_bytes
            )
            if wrong_bytes is not None:
                raise _announced(wrong_bytes, max_frame_bytes)
            return taken_bytes, whole
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

    def spans(self, data: memoryview, runs: Sequence[Run]) -> Iterator[tuple[int, int, int]]:
        """Yield payloads and ends of all frames of `runs`; see `Grammar.spans`."""
        prefix_bytes = self.prefix_bytes
        for start_off, payload_bytes, frames in runs:
            step_bytes = prefix_bytes + payload_bytes
            for off in range(start_off, start_off + frames * step_bytes, step_bytes):
                end_off = off + payload_bytes
                yield off, end_off, end_off

    def end_open(self, held: memoryview, max_frame_bytes: int) -> OpenEnd:
        """Raise IncompleteFrame: a frame must have as many bytes as were announced.

        Raises:
            IncompleteFrame: always.
        """
        expected_bytes = self.expected_bytes(held)
        of = "of its length prefix" if expected_bytes is None else f"of {expected_bytes}"
        raise IncompleteFrame(f"the input ended within a frame: {len(held)} bytes {of} had come")

    def overhead_bytes(self, max_frame_bytes: int) -> int:
        """Return the length of the prefix."""
        return self.prefix_bytes

    def encode_into(
        self, replies: bytearray, payload: bytes | memoryview, tail: bytes | memoryview
    ) -> None:
        """Append prefix and payload; see `Grammar.encode_into`.

        Raises:
            ProcessorError: the length does not fit the prefix.
        """
        replies += self.wrap(len(payload))
        replies += payload

    def wrap(self, payload_bytes: int) -> bytes:
        """Return the prefix of a payload of `payload_bytes`.

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

    def answer_many(
        self, method: Any, data: memoryview, runs: Sequence[Run], max_frame_bytes: int
    ) -> tuple[object, int, int]:
        """Call `process_prefixed(frames, runs, prefix_bytes)`; see `Grammar.answer_many`."""
        return method(data, runs, self.prefix_bytes), CALLS_PER_RUN * len(runs), 0

    def has_payload(self, data: memoryview, runs: Sequence[Run], payload: bytes) -> bool:
        """Compare frames of the same length only; see `Grammar.has_payload`."""
        as_long = [run for run in runs if run.payload_bytes == len(payload)]
        return any(data[start:end] == payload for start, end, _ in self.spans(data, as_long))

    def expected_bytes(self, held: memoryview) -> int | None:
        """Return the length of the frame that `held` begins, or None before its prefix is whole."""
        if len(held) < self.prefix_bytes:
            return None
        (payload_bytes,) = self._unpack_from(held)
        return self.prefix_bytes + int(payload_bytes)


def _equal_frames(data: memoryview, off: int, stride: int, prefix: bytes) -> int:
    """Return how many frames from `off` on, each `stride` long, begin with `prefix`."""
    found_frames = 0
    window_frames = _WINDOW_FRAMES
    while True:
        ahead_frames = min(window_frames, (len(data) - off) // stride)
        # A slice with a stride takes 1 ns per element of bytes, and 5 ns per element of a
        # memoryview.
        text = data[off : off + ahead_frames * stride].tobytes()
        # The last byte first: if lengths differ, it nearly always differs.
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


def _announced(payload_bytes: int, max_frame_bytes: int) -> FrameTooLarge:
    return FrameTooLarge(
        f"a frame of {payload_bytes} bytes was announced; max_frame_bytes is {max_frame_bytes}"
    )
