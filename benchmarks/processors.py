"""What `asyncrev serve --processor` loads for the benchmarks."""

import time

__all__ = ["HEAVY_S", "Heavy", "reverse"]

HEAVY_S = 0.0002  # of Python a frame


def reverse(chunk: bytes) -> bytes:
    """Return the bytes of a chunk in reverse order, as any function of a user would."""
    return chunk[::-1]


class Heavy:
    """Answers a frame reversed, after CPU time of its thread that it takes in Python."""

    replies_fit = True

    def process(self, frame: memoryview) -> bytes:
        """Answer."""
        end_s = time.thread_time() + HEAVY_S
        while time.thread_time() < end_s:
            pass
        return bytes(frame)[::-1]

    def eof(self) -> None:
        """Add nothing."""
