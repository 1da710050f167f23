"""The benchmark of executors runs, and checks what it measures."""

import subprocess
import sys

import pytest

from tests.support import ROOT

ARGS = ["--kinds", "direct,threads,processes", "--work-ms", "0.01", "0.1", "--seconds", "0.1"]
ARGS += ["--in-flight", "32"]


@pytest.mark.slow
@pytest.mark.process
def test_it_prints_a_line_per_kind_and_duration() -> None:
    """With figures; small here."""
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.executors", *ARGS],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=ROOT,
        check=True,
    )
    lines = [line.split() for line in run.stdout.splitlines()[2:]]
    kinds = [(kind, ms) for kind in ("direct", "threads", "processes") for ms in ("0.01", "0.1")]
    assert [(line[0], line[1]) for line in lines] == kinds
    assert all(float(line[2].replace(",", "")) > 0 for line in lines)
