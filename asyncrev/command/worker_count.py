"""How many worker processes --workers auto means: as many as can run at once."""

import math
import os
from collections.abc import Iterator

from asyncrev.command.cgroups import cgroups_with

__all__ = ["cpu_quota", "worker_count"]


def worker_count(wanted: str | int, root: str = "/") -> int:
    """Return the number of workers: `wanted` itself, or for "auto" one per core, at least one.

    Cores are those that this process may run on (sched_getaffinity(2)), or fewer by the CPU quota
    of its cgroups, rounded up. `root` is the directory that contains the system's files.
    """
    if isinstance(wanted, int):
        return wanted
    return max(1, math.ceil(cpu_quota(root)))


def cpu_quota(root: str = "/") -> float:
    """Return how many cores this process can use: those it may run on, or less by its cgroups."""
    return min([float(len(os.sched_getaffinity(0))), *_quotas(root)])


def _quotas(root: str) -> Iterator[float]:
    """Yield the CPU time per time that each cgroup allows."""
    for cgroup in cgroups_with("cpu", root):
        if cgroup.version == 2:
            numbers = cgroup.read("cpu.max").split()  # "max 100000" is no limit
        else:
            numbers = [cgroup.read(f"cpu.cfs_{what}_us").strip() for what in ("quota", "period")]
        if len(numbers) == 2 and all(number.isdecimal() and int(number) for number in numbers):
            yield int(numbers[0]) / int(numbers[1])
