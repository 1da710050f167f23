"""machine_memory: the least of machine and cgroups, and one warning with both figures."""

from pathlib import Path

import pytest

from asyncrev.command.machine_memory import MemoryLimit, memory_limit, memory_warning
from asyncrev.limits import Limits

MIB = 1 << 20
UNLIMITED_V1 = "9223372036854771712\n"


class System:
    """The files of a system that has 8 GiB."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("proc/meminfo", "MemTotal:        8388608 kB\nMemFree:  1 kB\n")

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def v2(self, path: str, top: str = "/", point: str = "/sys/fs/cgroup") -> None:
        self.write("proc/self/cgroup", f"0::{path}\n")
        self.write(
            "proc/self/mountinfo",
            "22 1 0:20 / /proc rw - proc proc rw\n"
            f"30 22 0:27 {top} {point} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
        )

    def v1(self, path: str, top: str = "/") -> None:
        self.write("proc/self/cgroup", f"9:name=systemd:/\n4:cpu,memory:{path}\n0::/\n")
        self.write(
            "proc/self/mountinfo",
            "31 22 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
            f"32 22 0:29 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
        )

    def limit(self) -> MemoryLimit | None:
        return memory_limit(str(self.root))


@pytest.fixture
def system(tmp_path: Path) -> System:
    """A system of files in a folder."""
    return System(tmp_path)


def test_without_cgroups_it_is_the_machines(system: System) -> None:
    """MemTotal."""
    assert system.limit() == MemoryLimit(8 << 30, "this machine has")


def test_system_that_does_not_say_is_none(tmp_path: Path) -> None:
    """As in a sandbox without /proc."""
    assert memory_limit(str(tmp_path)) is None
    System(tmp_path).write("proc/meminfo", "nonsense\n")
    assert memory_limit(str(tmp_path)) is None


def test_cgroup_of_version_2_and_its_ancestors_count(system: System) -> None:
    """The least of them, wherever it is; "max" is none."""
    system.v2("/system.slice/rev.service")
    system.write("sys/fs/cgroup/system.slice/rev.service/memory.max", "max\n")
    system.write("sys/fs/cgroup/system.slice/memory.max", "1073741824\n")
    assert system.limit() == MemoryLimit(1 << 30, "cgroup '/system.slice' allows (memory.max)")
    system.write("sys/fs/cgroup/system.slice/rev.service/memory.max", str(512 * MIB))
    assert system.limit() == MemoryLimit(
        512 * MIB, "cgroup '/system.slice/rev.service' allows (memory.max)"
    )
    system.write("sys/fs/cgroup/system.slice/rev.service/memory.max", str(1 << 40))
    assert system.limit() == MemoryLimit(1 << 30, "cgroup '/system.slice' allows (memory.max)")


@pytest.mark.parametrize(("path", "top"), [("/", "/"), ("/docker/abc", "/docker/abc")])
def test_container_sees_its_own_at_the_mount_point(system: System, path: str, top: str) -> None:
    """With a namespace of its own, and without."""
    system.v2(path, top)
    system.write("sys/fs/cgroup/memory.max", str(100 * MIB))
    assert system.limit() == MemoryLimit(100 * MIB, "cgroup '/' allows (memory.max)")


@pytest.mark.parametrize("path", ["/../../outside", "/elsewhere"])
def test_path_that_is_not_mounted_leads_to_the_mount_point(system: System, path: str) -> None:
    """What is outside of a namespace is not seen, and "..", which it may have, not followed."""
    system.v2(path, "/docker/abc")
    system.write("sys/fs/cgroup/memory.max", str(100 * MIB))
    system.write("sys/memory.max", "1")
    limit = system.limit()
    assert limit is not None
    assert limit.nbytes == 100 * MIB


def test_cgroup_of_version_1_counts_and_its_unlimited_does_not(system: System) -> None:
    """Which is a number beyond every machine."""
    system.v1("/a/b")
    system.write("sys/fs/cgroup/memory/memory.limit_in_bytes", UNLIMITED_V1)
    system.write("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", UNLIMITED_V1)
    assert system.limit() == MemoryLimit(8 << 30, "this machine has")
    system.write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", str(200 * MIB))
    assert system.limit() == MemoryLimit(200 * MIB, "cgroup '/a' allows (memory.limit_in_bytes)")


def test_this_machine_says_something_sensible() -> None:
    """Whatever runs the tests has more than 64 MiB, and less than a PiB."""
    limit = memory_limit()
    assert limit is not None
    assert 64 * MIB < limit.nbytes < 1 << 50


# -- the warning -----------------------------------------------------------------------------------


def test_bound_within_the_limit_needs_no_word(system: System) -> None:
    """Nor does one that is equal to it."""
    for bound_bytes in (1, 8 << 30):
        assert (
            memory_warning(bound_bytes, Limits(), framed=False, bridges=1, root=str(system.root))
            is None
        )


@pytest.mark.parametrize(
    ("limits", "framed", "bridges", "helps"),
    [
        (
            Limits(max_connections=100_000),
            False,
            1,
            "--max-connections, --max-reply-bytes, --slot-bytes, --in-flight-bytes or "
            "--high-water-bytes",
        ),
        (Limits(slots=100_000), False, 1, "--slots or --slot-bytes"),
        (Limits(slots=100_000), False, 2, "--threads, --slots or --slot-bytes"),
        (
            Limits(max_connections=1_000_000),
            True,
            1,
            "--max-connections, --max-reply-bytes, --high-water-bytes or --partial-frame-bytes",
        ),
        (Limits(pool_bytes=8 << 30), True, 1, "--pool-bytes, --slots or --slot-bytes"),
        (Limits(pool_bytes=8 << 30), True, 3, "--threads, --pool-bytes, --slots or --slot-bytes"),
    ],
)
def test_bound_above_the_limit_is_told_with_what_helps(
    system: System, limits: Limits, framed: bool, bridges: int, helps: str
) -> None:
    """Both figures, and the options of the larger term."""
    if framed:
        bound = limits.framed_memory_bound_bytes + (bridges - 1) * limits.framed_bridge_bytes
    else:
        bound = limits.memory_bound_bytes + (bridges - 1) * limits.bridge_bytes
    text = memory_warning(bound, limits, framed=framed, bridges=bridges, root=str(system.root))
    assert text == (
        f"connections may make this process hold {bound / MIB:,.0f} MiB (memory_bound_bytes), but "
        f"this machine has 8,192 MiB; it may be killed before its limits hold. Lower {helps}"
    )
