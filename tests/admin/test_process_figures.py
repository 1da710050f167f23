"""process_figures: what the system says of this process."""

import os
import time

from asyncrev.admin.process_figures import ProcessFigures


def test_figures_are_those_of_this_process() -> None:
    """As far as the kernel says them."""
    figures = ProcessFigures().read()
    assert 0 < figures["cpu_seconds"] <= time.process_time()
    assert figures["resident_memory_bytes"] > 1 << 20
    assert 0 < time.time() - figures["start_time_seconds"] < 24 * 3600
    assert figures["max_fds"] >= 64
    listed = len(os.listdir("/proc/self/fd"))
    assert figures["open_fds"] is None or abs(figures["open_fds"] - listed) <= 2


def test_start_does_not_move() -> None:
    """It is read once."""
    figures = ProcessFigures()
    assert figures.read()["start_time_seconds"] == figures.read()["start_time_seconds"]
