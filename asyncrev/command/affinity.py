"""The choice of the core on which the command's threads run.

The two threads of one interpreter hold the GIL alternately. On two cores each hand-over wakes a
core; on one core it is a context switch. Light work has 1.1 to 1.8 times the throughput on one core
(docs/decisions/0002-one-core.md). Work that releases the GIL for a long time needs its own core.
"""

import os
import sys
from collections.abc import Set

from asyncrev.errors import SettingsError

__all__ = ["choose_cpu", "core_of_worker", "idle_of_cpus", "move_threads", "pin_to"]


def choose_cpu(wanted: str, processor: object, threads: int = 1) -> int | None:
    """Return the core to run on, or None for any.

    "any" gives None, and a number itself. "auto" gives the current core if the GIL is enabled,
    there is one worker, and `processor` has a true attribute `shares_core`, else None. The system
    moves other programs off a busy core, unless they are pinned to it.

    Raises:
        SettingsError: `wanted` is none of these, or not a core that this process may use.
    """
    allowed = os.sched_getaffinity(0)
    if wanted == "any":
        return None
    if wanted == "auto":
        gil_is_on = getattr(sys, "_is_gil_enabled", lambda: True)()
        if threads > 1 or not (gil_is_on and getattr(processor, "shares_core", False)):
            return None
        current = _current_cpu()
        return current if current in allowed else None
    if wanted not in map(str, allowed):
        raise SettingsError(
            f"--cpu is {wanted!r}; it must be auto, any, or one of the cores that this process "
            f"may use: {', '.join(map(str, sorted(allowed)))}"
        )
    return int(wanted)


def core_of_worker(index: int) -> int:
    """Return the core of one of several workers: each has its own as long as there are enough.

    `index`: which of them it is, from 0.
    """
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[index % len(allowed)]


def pin_to(cpu: int) -> None:
    """Restrict this thread, and threads that it starts later, to `cpu`.

    Raises:
        OSError: the system refuses; the message names the option.
    """
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError as error:
        raise OSError(error.errno, f"--cpu {cpu}: {error.strerror}") from None


def move_threads(
    before: Set[int], cpus: Set[int], others: Set[int] = frozenset()
) -> frozenset[int]:
    """Restrict threads that are restricted to `before`, and those they start later, to `cpus`.

    Threads that somebody has restricted to anything else stay so. Return their ids; give them as
    `others` on the way back, else those that may use all cores would be taken for threads that
    were moved to all cores.

    Raises:
        OSError: the system refuses.
    """
    stay = set()
    for thread_id in map(int, os.listdir("/proc/self/task")):
        try:
            if thread_id not in others and os.sched_getaffinity(thread_id) == before:
                os.sched_setaffinity(thread_id, cpus)
            else:
                stay.add(thread_id)
        except ProcessLookupError:
            pass  # it has ended meanwhile
    return frozenset(stay)


def idle_of_cpus() -> dict[int, float]:
    """Return for each core how many seconds it was idle so far; none if it cannot be seen."""
    try:
        with open("/proc/stat", encoding="ascii", errors="replace") as stat:
            lines = [line.split() for line in stat if line.startswith("cpu")]
        # Idle, and waiting for disks (proc(5)); the first line is the sum.
        ticks = {int(name[3:]): int(found[3]) + int(found[4]) for name, *found in lines[1:]}
    except (OSError, IndexError, ValueError):
        return {}
    return {cpu: idle / os.sysconf("SC_CLK_TCK") for cpu, idle in ticks.items()}


def _current_cpu() -> int | None:
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as stat:
            # Field 39, counted from the end of the name, which may contain spaces (proc(5)).
            return int(stat.read().rpartition(")")[2].split()[36])
    except (OSError, IndexError, ValueError):
        return None
