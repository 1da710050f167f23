"""Netstrings: a grammar that asyncrev does not have, in one file, as a user would write it.

A frame is `5:hello,`: the payload's length in decimal digits, without zeros in front, a colon, the
payload, a comma. See https://cr.yp.to/proto/netstrings.txt.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from asyncrev.errors import FrameTooLarge, RemoteError
from asyncrev.frames.grammar import CALLS_PER_RUN, UNBOUNDED_STEPS, Grammar, Run, Scan

__all__ = ["MalformedNetstring", "Netstring"]

_MOST_HEAD_BYTES = 24  # more than the digits of any `max_frame_bytes`, and a colon


class MalformedNetstring(RemoteError):
    """A peer sent what is no netstring."""

    reason = "malformed netstring"


class Netstring(Grammar):
    """Frames like `5:hello,`. A processor may have `process_netstrings(frames, runs)`."""

    name = "netstring"
    tails = (b",",)
    method_name = "process_netstrings"
    method_arguments = "frames, runs"

    def scan(
        self, data: memoryview, max_frame_bytes: int, most_steps: int = UNBOUNDED_STEPS
    ) -> Scan:
        """Find the whole netstrings at the front of `data`."""
        runs: list[Run] = []
        off = 0
        for _ in range(most_steps):
            try:
                head = _head(data[off : off + _MOST_HEAD_BYTES].tobytes(), max_frame_bytes)
                if head is None:
                    return Scan(off, runs, None)
                start_off, payload_bytes = off + head[0], head[1]
                comma_off = start_off + payload_bytes
                if comma_off >= len(data):
                    return Scan(off, runs, None)
                if data[comma_off] != ord(","):
                    raise MalformedNetstring(
                        f"a netstring of {payload_bytes} bytes ends with byte {data[comma_off]}, "
                        "not with a comma"
                    )
            except RemoteError as error:
                return Scan(off, runs, error.with_traceback(None))
            if runs and runs[-1].payload_bytes == payload_bytes:
                runs[-1] = runs[-1]._replace(frames=runs[-1].frames + 1)
            else:
                runs.append(Run(start_off, payload_bytes, 1))
            off = comma_off + 1
        return Scan(off, runs, None, True)

    def missing(
        self, held: memoryview, chunk: memoryview, max_frame_bytes: int
    ) -> tuple[int, bool]:
        """Return how much of `chunk` belongs to the netstring begun."""
        first = held[:_MOST_HEAD_BYTES].tobytes() + chunk[:_MOST_HEAD_BYTES].tobytes()
        head = _head(first[:_MOST_HEAD_BYTES], max_frame_bytes)
        if head is None:
            return len(chunk), False
        wanted_bytes = head[0] + head[1] + 1 - len(held)
        return min(wanted_bytes, len(chunk)), wanted_bytes <= len(chunk)

    def spans(self, data: memoryview, runs: Sequence[Run]) -> Iterator[tuple[int, int, int]]:
        """Yield payloads and ends."""
        for start_off, payload_bytes, frames in runs:
            stride = payload_bytes + len(b"%d:," % payload_bytes)
            for off in range(start_off, start_off + frames * stride, stride):
                yield off, off + payload_bytes, off + payload_bytes + 1

    def overhead_bytes(self, max_frame_bytes: int) -> int:
        """Return the length of the digits, the colon and the comma."""
        return len(b"%d:," % max_frame_bytes)

    def encode_into(
        self, replies: bytearray, payload: bytes | memoryview, tail: bytes | memoryview
    ) -> None:
        """Append a netstring."""
        replies += b"%d:" % len(payload)
        replies += payload
        replies += b","

    def answer_many(
        self, method: Any, data: memoryview, runs: Sequence[Run], max_frame_bytes: int
    ) -> tuple[object, int, int]:
        """Call `process_netstrings(frames, runs)`."""
        return method(data, runs), CALLS_PER_RUN * len(runs), 0


def _head(text: bytes, max_frame_bytes: int) -> tuple[int, int] | None:
    """Return the length of digits and colon, and the payload's; None if `text` ends before.

    Byte after byte, so that the verdict is the same however the text was split.
    """
    most_digits = len(str(max_frame_bytes))
    for off, byte in enumerate(text):
        if byte == ord(":") and off:
            payload_bytes = int(text[:off])
            if payload_bytes > max_frame_bytes:
                raise FrameTooLarge(
                    f"a netstring of {payload_bytes} bytes was announced; max_frame_bytes is "
                    f"{max_frame_bytes}"
                )
            return off + 1, payload_bytes
        if not ord("0") <= byte <= ord("9") or (off == 1 and text[0] == ord("0")):
            raise MalformedNetstring(f"a netstring begins with {text[: off + 1]!r}")
        if off == most_digits:
            raise FrameTooLarge(
                f"a netstring of at least 10**{most_digits} bytes was announced; max_frame_bytes "
                f"is {max_frame_bytes}"
            )
    return None
