"""--workers auto: the cores of this process, or fewer by the quota of its cgroups."""

import os
import pathlib

import pytest

from asyncrev.command.worker_count import worker_count


@pytest.fixture
def root(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A system whose process may use six cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {*range(6)})
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "cg/x").mkdir(parents=True)
    return tmp_path


def version_2(root: pathlib.Path, x: str, top: str = "") -> str:
    (root / "proc/self/cgroup").write_text("0::/x\n")
    (root / "proc/self/mountinfo").write_text("30 23 0:26 / /cg rw - cgroup2 cgroup2 rw\n")
    (root / "cg/x/cpu.max").write_text(x)
    (root / "cg/cpu.max").write_text(top)
    return str(root)


def test_a_number_is_itself(root: pathlib.Path) -> None:
    assert worker_count(9, str(root)) == 9


def test_without_a_quota_all_cores(root: pathlib.Path) -> None:
    assert worker_count("auto", str(root)) == 6
    assert worker_count("auto", version_2(root, "max 100000\n")) == 6


@pytest.mark.parametrize(
    ("quota", "workers"), [("200000", 2), ("250000", 3), ("50000", 1), ("900000", 6), ("x", 6)]
)
def test_quota_is_rounded_up(root: pathlib.Path, quota: str, workers: int) -> None:
    assert worker_count("auto", version_2(root, f"{quota} 100000\n")) == workers


def test_the_lowest_of_all_ancestors_counts(root: pathlib.Path) -> None:
    assert worker_count("auto", version_2(root, "400000 100000", "200000 100000")) == 2


@pytest.mark.parametrize(("quota", "workers"), [("-1", 6), ("300000", 3)])
def test_version_1(root: pathlib.Path, quota: str, workers: int) -> None:
    (root / "proc/self/cgroup").write_text("4:cpu,cpuacct:/x\n")
    (root / "proc/self/mountinfo").write_text("31 23 0:27 / /cg rw - cgroup cgroup rw,cpu\n")
    (root / "cg/x/cpu.cfs_quota_us").write_text(f"{quota}\n")
    (root / "cg/x/cpu.cfs_period_us").write_text("100000\n")
    assert worker_count("auto", str(root)) == workers
