"""What the system says of this process: its CPU time, its memory, its descriptors (proc(5))."""

import os
import resource
import time

__all__ = ["ProcessFigures"]


class ProcessFigures:
    """Figures of this process. Thread: any."""

    def __init__(self) -> None:
        self._started_s = _start_time_s()

    def read(self) -> dict[str, float | None]:
        """Return the figures; None for what the system does not say, or not cheaply."""
        return {
            "cpu_seconds": time.process_time(),
            "resident_memory_bytes": _resident_bytes(),
            "start_time_seconds": self._started_s,
            "open_fds": _open_descriptors(),
            "max_fds": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        }


def _start_time_s() -> float | None:
    """Return when the process started, as a time since the epoch."""
    try:
        with open("/proc/self/stat", "rb") as stat:
            ticks = int(stat.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
    boot_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return round(boot_s + ticks / os.sysconf("SC_CLK_TCK"), 2)


def _resident_bytes() -> float | None:
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def _open_descriptors() -> int | None:
    # Their number is the size of the directory since Linux 6.2; before, it is 0. To list ten
    # thousand of them would take longer than all the rest of a scrape.
    try:
        return os.stat("/proc/self/fd").st_size or None
    except OSError:
        return None
