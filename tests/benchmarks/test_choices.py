"""The figures of docs/choose.md can be measured again."""

import subprocess
import sys

import pytest

from tests.support import ROOT


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(120)
def test_it_prints_a_line_per_choice() -> None:
    """With a figure in each column; every reply was verified, else it would have failed."""
    pytest.importorskip("hdrh")
    choices = ["loop", "worker", "workers"]
    arguments = ["--rounds", "1", "--seconds", "0.3", "--only", ",".join(choices)]
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.choices", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
        check=True,
    )
    head, *lines = run.stdout.splitlines()
    assert "CPU us" in head
    rows = [line.split() for line in lines]
    assert [row[0] for row in rows] == choices
    for row in rows:
        assert len(row) == 8
        assert all(float(cell.replace(",", "")) > 0 for cell in row[1:])


def test_unknown_choice_is_named() -> None:
    """With those that there are."""
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.choices", "--only", "worker,nothing"],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=ROOT,
        check=False,
    )
    assert run.returncode == 2
    assert "nothing: choose from loop, worker" in run.stderr
