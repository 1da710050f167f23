"""The memory that the machine and cgroups allow this process; a warning if it is too little."""

import dataclasses
import re
from collections.abc import Iterator

from asyncrev.command.cgroups import cgroups_with, text_of
from asyncrev.limits import Limits

__all__ = ["MemoryLimit", "memory_limit", "memory_warning"]


@dataclasses.dataclass(frozen=True, slots=True)
class MemoryLimit:
    """A bound on the memory of this process.

    Attributes:
        nbytes: the bound.
        whose: what sets it, as the beginning of a sentence.
    """

    nbytes: int
    whose: str


def memory_limit(root: str = "/") -> MemoryLimit | None:
    """Return the lowest limit of the machine and the cgroups, or None if none is known.

    Reads MemTotal (proc_meminfo(5)), and memory.max or memory.limit_in_bytes of this process's
    cgroups and their ancestors, in either version (cgroups(7)). `root` is the directory that
    contains the system's files. Thread: any.
    """
    found = [*_machine(root), *_cgroups(root)]
    return min(found, key=lambda limit: limit.nbytes, default=None)


def memory_warning(
    bound_bytes: int, limits: Limits, *, framed: bool, bridges: int, root: str = "/"
) -> str | None:
    """Return a warning if `bound_bytes` exceeds the limit, with both and the options to lower."""
    limit = memory_limit(root)
    if limit is None or bound_bytes <= limit.nbytes:
        return None
    if framed:
        shared_bytes = bridges * limits.framed_bridge_bytes
        shared_options = "--pool-bytes, --slots or --slot-bytes"
        own_options = (
            "--max-connections, --max-reply-bytes, --high-water-bytes or --partial-frame-bytes"
        )
    else:
        shared_bytes = bridges * limits.bridge_bytes
        shared_options = "--slots or --slot-bytes"
        own_options = (
            "--max-connections, --max-reply-bytes, --slot-bytes, --in-flight-bytes or "
            "--high-water-bytes"
        )
    if bridges > 1:
        shared_options = "--threads, " + shared_options
    most_of_it = shared_options if shared_bytes > bound_bytes / 2 else own_options
    return (
        f"connections may make this process hold {_mib(bound_bytes)} (memory_bound_bytes), but "
        f"{limit.whose} {_mib(limit.nbytes)}; it may be killed before its limits hold. Lower "
        f"{most_of_it}"
    )


def _mib(nbytes: int) -> str:
    return f"{nbytes / 2**20:,.0f} MiB"


def _machine(root: str) -> Iterator[MemoryLimit]:
    match = re.search(r"^MemTotal:\s*(\d+) kB$", text_of(root, "proc/meminfo"), re.MULTILINE)
    if match:
        yield MemoryLimit(int(match[1]) * 1024, "this machine has")


def _cgroups(root: str) -> Iterator[MemoryLimit]:
    for cgroup in cgroups_with("memory", root):
        file = "memory.max" if cgroup.version == 2 else "memory.limit_in_bytes"
        text = cgroup.read(file).strip()
        if text.isdecimal():  # "max" is no limit; version 1 has a huge number instead
            yield MemoryLimit(int(text), f"cgroup {cgroup.name!r} allows ({file})")
