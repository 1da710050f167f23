"""What the benchmark of executors has done to frames; workers import it."""

import time

__all__ = ["WORK", "WORK_MS"]

WORK_MS = (0.0, 0.01, 0.1, 1.0, 10.0)


def _spin(frame: bytes, work_s: float) -> bytes:
    """Take so much CPU time in pure Python, and answer with the first bytes."""
    end_s = time.thread_time() + work_s
    while time.thread_time() < end_s:
        pass
    return frame


def work_0(frame: bytes) -> bytes:
    """Take none, so that what remains is the way there and back."""
    return frame


def work_0_01(frame: bytes) -> bytes:
    """Take 0.01 ms."""
    return _spin(frame, 0.000_01)


def work_0_1(frame: bytes) -> bytes:
    """Take 0.1 ms."""
    return _spin(frame, 0.000_1)


def work_1_0(frame: bytes) -> bytes:
    """Take 1 ms."""
    return _spin(frame, 0.001)


def work_10_0(frame: bytes) -> bytes:
    """Take 10 ms."""
    return _spin(frame, 0.01)


WORK = dict(zip(WORK_MS, (work_0, work_0_01, work_0_1, work_1_0, work_10_0), strict=True))
for _function in WORK.values():
    _function.idempotent = True  # type: ignore[attr-defined]
