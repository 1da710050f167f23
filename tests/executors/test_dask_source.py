"""Workers of a Dask cluster: a real scheduler and real worker processes."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncrev.errors import SettingsError
from asyncrev.executors import dask_source
from asyncrev.executors.dask_source import DaskSource
from tests.support import ROOT

WITHOUT = "distributed is not installed: pip install 'asyncrev[dask]'"
with_dask = pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason=WITHOUT)


def test_it_is_refused_where_dask_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setattr(dask_source.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install 'asyncrev\[dask\]'"):
        DaskSource(None, 1)


def test_lost_scheduler_and_killed_worker_are_told_apart() -> None:
    """By the names of Dask's errors, so that it is not imported for them."""
    source = object.__new__(DaskSource)
    kinds: dict[str, Any] = {name: type(name, (Exception,), {}) for name in ("KilledWorker",)}
    killed = source.loss_of(kinds["KilledWorker"]())
    assert killed is not None
    assert (killed.cause, killed.is_executor) == ("died", False)
    lost = source.loss_of(type("FutureCancelledError", (Exception,), {})())
    assert lost is not None
    assert lost.is_executor
    assert source.loss_of(ValueError()) is None


class Cluster:
    """`dask scheduler` and `dask worker` as processes."""

    def __init__(self) -> None:
        self.workers: list[subprocess.Popen[str]] = []
        self.address = ""
        self._start_scheduler("0")

    def _start_scheduler(self, port: str) -> None:
        self.scheduler = self._run("distributed.cli.dask_scheduler", "--port", port)
        assert self.scheduler.stderr is not None
        for line in self.scheduler.stderr:
            if match := re.search(r"Scheduler at:\s+(tcp://\S+)", line):
                self.address = match[1]
                return
        raise AssertionError("the scheduler ended before it listened")

    def restart_scheduler(self) -> None:
        """Kill it and its workers; start others at the same address."""
        self.close()
        self.workers.clear()
        self._start_scheduler(self.address.rpartition(":")[2])
        self.add_worker()

    def _run(self, module: str, *args: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", module, "--host", "127.0.0.1", "--no-dashboard", *args],
            stderr=subprocess.PIPE if "scheduler" in module else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def add_worker(self) -> None:
        """Start one more worker, without a nanny, so that a killed one stays away."""
        self.workers.append(
            self._run("distributed.cli.dask_worker", self.address, "--nthreads", "1", "--no-nanny")
        )

    def close(self) -> None:
        """End all."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A scheduler with two workers."""
    cluster = Cluster()
    try:
        cluster.add_worker()
        cluster.add_worker()
        yield cluster
    finally:
        cluster.close()


def run_scenario(name: str, *args: str) -> "subprocess.Popen[str]":
    """Run one of `dask_run` in a process of its own: Dask's threads outlive its clients."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.executors.dask_run", name, *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def ends_well(scenario: "subprocess.Popen[str]") -> None:
    """Wait for its end; it checks by itself."""
    out, err = scenario.communicate(timeout=50)
    assert scenario.returncode == 0, err
    assert out.endswith("as it should be\n")


def said(scenario: "subprocess.Popen[str]", word: str) -> None:
    """Wait for a line of it."""
    assert scenario.stdout is not None
    assert scenario.stdout.readline() == f"{word}\n"


@with_dask
@pytest.mark.slow
@pytest.mark.process
def test_cluster_of_this_machine_answers_and_isolates_a_frame_that_kills() -> None:
    """Its batch mates are answered."""
    ends_well(run_scenario("local"))


@with_dask
@pytest.mark.slow
@pytest.mark.process
def test_frames_of_a_killed_worker_are_run_again_and_a_cluster_may_grow(
    cluster: Cluster, tmp_path: Path
) -> None:
    """By Dask itself, on what is left."""
    scenario = run_scenario("shrinks", cluster.address, str(tmp_path / "go"))
    said(scenario, "running")
    cluster.workers[0].send_signal(signal.SIGKILL)
    cluster.add_worker()
    cluster.add_worker()
    (tmp_path / "go").touch()
    ends_well(scenario)


@with_dask
@pytest.mark.slow
@pytest.mark.process
def test_what_a_lost_scheduler_had_is_tried_again_with_its_successor(
    cluster: Cluster, tmp_path: Path
) -> None:
    """At the same address."""
    scenario = run_scenario("scheduler", cluster.address, str(tmp_path / "go"))
    said(scenario, "running")
    cluster.restart_scheduler()
    (tmp_path / "go").touch()
    ends_well(scenario)
