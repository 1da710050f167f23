"""What the compiled extension `asyncrev.native._kernels` offers.

The extension has no state, allocates nothing but what it returns, and releases the GIL while it
reverses 16 KiB or more. It is written in C: `kernels_core_*.c`, and the other `kernels_*.c` over
it.
"""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

__all__ = ["INTERFACE", "Kernels", "as_kernels", "check_interface"]

# Changes with any function below, so that a file that was built from other sources is not used.
INTERFACE = 2

_Run = TypeVar("_Run")


class Kernels(Protocol):
    """The functions of the extension.

    Thread: any, while no other changes the buffers. Buffers are contiguous, with one byte per
    element, and not kept; offsets and lengths count bytes. A limit may be any number from 0 on.
    Every function raises TypeError or BufferError if an argument is of the wrong kind, and
    ValueError if a number is out of range, or OverflowError if it has more than 63 bits.
    """

    INTERFACE: int

    def reverse(self, chunk: memoryview, /) -> None:
        """Reverse the bytes of `chunk` in place."""

    def reversed_bytes(self, chunk: memoryview, /) -> bytes:
        """Return the bytes of `chunk` in reverse order."""

    def reverse_runs(
        self, frames: memoryview, runs: Sequence[Sequence[int]], prefix_bytes: int, /
    ) -> None:
        """Reverse each payload of `runs` in place.

        `runs`: as `Run`; between two payloads of one are `prefix_bytes`.

        Raises:
            ValueError: a run is not within `frames`. Of the runs before it, a multiple of 128
                have been reversed.
        """

    def reverse_lines(self, lines: memoryview, /) -> None:
        r"""Reverse the payload of each line in place; what follows the last "\n" stays."""

    def scan_prefixed(
        self,
        data: memoryview,
        prefix_bytes: int,
        max_frame_bytes: int,
        most_runs: int,
        run_type: type[_Run],
        /,
    ) -> tuple[int, list[_Run], int | None, bool]:
        """Find whole frames, as `Prefixed.scan`, where a step finds one run.

        Returns the length of the whole frames; their runs, as objects of `run_type`, a class of
        tuples; the announced length of a frame that is too long, or None; and whether the scan
        stopped because of `most_runs`.
        """

    def scan_lines(
        self, data: memoryview, max_frame_bytes: int, most_steps: int, /
    ) -> tuple[int, int | None, bool, bool]:
        """Find whole lines, as `Lines.scan`, with the same steps.

        Returns the length of the whole lines; the length of a line that is too long, or None;
        whether that is all of it; and whether the scan stopped because of `most_steps`.
        """

    def rest_prefixed(
        self, held: memoryview, chunk: memoryview, prefix_bytes: int, max_frame_bytes: int, /
    ) -> tuple[int, bool, int | None, bool]:
        """Find what of `chunk` belongs to a partial frame, as `Prefixed.missing`.

        Returns its length; whether the frame is complete with it; the announced length of a frame
        that is too long, or None; and False.
        """

    def rest_line(
        self, held: memoryview, chunk: memoryview, max_frame_bytes: int, /
    ) -> tuple[int, bool, int | None, bool]:
        """Find what of `chunk` belongs to a partial line, as `Lines.missing`.

        Returns its length; whether the line is complete with it; the length of a line that is too
        long, or None; and whether that is all of it.
        """

    def line_spans(self, data: memoryview, off: int, /) -> list[tuple[int, int, int]]:
        """Return the first whole lines from `off` on, at most 64: start, payload's end, end."""

    def count_lines(self, data: memoryview | bytes, /) -> int:
        r"""Return the number of "\n" in `data`."""

    def exchange(
        self,
        events: list[tuple[int, int]],
        rows: Any,
        requests: bytes,
        replies: bytes,
        variants: int,
        woken_ns: int,
        unit_ns: int,
        notes: list[int],
        /,
    ) -> tuple[int, int, list[tuple[int, int, int, int, bytes | None]]]:
        """Receive a reply and send the next message on each socket that has an event.

        `asyncrev.bench.hot` is the reference. The GIL is held: no call waits.

        Args:
            events: descriptors with their masks, as `select.epoll.poll` returns them.
            rows: a writable buffer of three 64-bit integers per descriptor, from 0 on: which
                message is in flight, or -1 if the descriptor is not to be served; when it was sent,
                by CLOCK_MONOTONIC; how many were answered.
            requests, replies: all messages and the reply to each, `variants` of one length each.
            woken_ns: when the events were known.
            unit_ns: what latencies are counted in.
            notes: each latency is appended.

        Returns how many messages were answered, and as many sent; how many bytes were sent; and
        what is left to the caller, each with its descriptor, its mask, one of the numbers of
        `asyncrev.bench.hot_native`, a number and bytes.

        Raises:
            ValueError: lengths do not fit one another.
        """


def check_interface(module: Any, wanted: int) -> None:
    """Check that the extension `module` was built from the sources beside this file.

    Raises:
        ImportError: it was built from other ones; the message says what to do.
    """
    built = getattr(module, "INTERFACE", None)
    if built != wanted:
        raise ImportError(
            f"the file was built from other sources: its interface is {built}, not {wanted}; "
            "install asyncrev again"
        )


def as_kernels(module: Any) -> Kernels:
    """Return the extension `module` as kernels; raise ImportError as `check_interface` does."""
    check_interface(module, INTERFACE)
    kernels: Kernels = module
    return kernels
