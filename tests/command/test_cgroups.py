"""cgroups: which ones this process is in, in either version and within a container."""

import pathlib

from asyncrev.command.cgroups import cgroups_with, text_of


def system(root: pathlib.Path, cgroup: str, mounts: str) -> str:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    (root / "proc/self/mountinfo").write_text(mounts)
    return str(root)


def test_ancestors_count_too(tmp_path: pathlib.Path) -> None:
    root = system(
        tmp_path,
        "0::/a/b\n",
        "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
    )
    found = [(one.name, one.version, one.directory) for one in cgroups_with("cpu", root)]
    assert found == [
        ("/a/b", 2, "sys/fs/cgroup/a/b"),
        ("/a", 2, "sys/fs/cgroup/a"),
        ("/", 2, "sys/fs/cgroup/"),
    ]


def test_version_1_has_a_hierarchy_per_controller(tmp_path: pathlib.Path) -> None:
    root = system(
        tmp_path,
        "4:cpu,cpuacct:/x\n2:memory:/y\n",
        "31 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
        "32 23 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
    )
    assert [one.name for one in cgroups_with("cpu", root)] == ["/x", "/"]
    assert next(cgroups_with("memory", root)).directory == "sys/fs/cgroup/memory/y"


def test_a_path_outside_of_the_mount_is_its_top(tmp_path: pathlib.Path) -> None:
    """As in a container whose namespace begins below."""
    root = system(tmp_path, "0::/\n", "30 23 0:26 /kube/pod /sys/fs/cgroup ro - cgroup2 c rw\n")
    (one,) = cgroups_with("cpu", root)
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("max 100000\n")
    assert one.read("cpu.max") == "max 100000\n"
    assert one.read("none") == text_of(root, "none") == ""


def test_a_system_without_any(tmp_path: pathlib.Path) -> None:
    assert list(cgroups_with("cpu", str(tmp_path))) == []
