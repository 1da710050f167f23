"""The plane's core, without Python: two threads play loop and worker, in many random rounds."""

import pathlib
import shutil
from collections.abc import Sequence

import pytest

from tests.native.building import (
    NATIVE,
    SANITIZERS,
    THREAD_SANITIZER,
    WEAK_MEMORY,
    build_stress,
    can_link,
    needs_gcc,
    run_stress,
)

pytestmark = needs_gcc


def found_nothing(
    folder: pathlib.Path, options: Sequence[str], rounds: int, seed: int = 0, seconds: float = 15
) -> None:
    """Build and run the program; skip the test where gcc lacks the sanitizer."""
    if options is not WEAK_MEMORY and not can_link(options[:1]):
        pytest.skip(f"gcc has no {options[0]} that works here")
    program = build_stress(folder, options)
    done = run_stress(program, rounds, seed, seconds)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(f" rounds of seed {seed}: no difference\n")
    assert not done.stdout.startswith("0 ")


@pytest.mark.timeout(90)
def test_two_threads_have_no_data_race(tmp_path: pathlib.Path) -> None:
    """Nor any other difference, with ThreadSanitizer."""
    found_nothing(tmp_path, THREAD_SANITIZER, rounds=25)


@pytest.mark.timeout(90)
def test_two_threads_keep_to_their_memory(tmp_path: pathlib.Path) -> None:
    """With AddressSanitizer and UndefinedBehaviorSanitizer."""
    found_nothing(tmp_path, SANITIZERS, rounds=40)


@pytest.mark.timeout(90)
def test_two_threads_lose_nothing_though_stores_are_late(tmp_path: pathlib.Path) -> None:
    """Neither a byte nor a wake-up, on a processor that reorders whatever it may."""
    found_nothing(tmp_path, WEAK_MEMORY, rounds=500)


@pytest.mark.stress
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "options", [THREAD_SANITIZER, SANITIZERS, WEAK_MEMORY], ids=["threads", "memory", "order"]
)
def test_two_threads_lose_nothing_for_long(tmp_path: pathlib.Path, options: Sequence[str]) -> None:
    """Two more seeds, half a minute each."""
    for seed in (1, 2):
        found_nothing(tmp_path, options, 1_000_000, seed, seconds=30)


def test_stress_finds_a_defect_and_says_where(tmp_path: pathlib.Path) -> None:
    """The round and the seed, and what is not so."""
    for source in NATIVE.glob("*_core*.[ch]"):
        shutil.copy(source, tmp_path)
    core = tmp_path / "plane_core_receive.c"
    text = core.read_text(encoding="utf-8")
    quota = "row->in_flight_entries >= plane->most_entries"
    assert text.count(quota) == 1
    core.write_text(text.replace(quota, quota.replace(">=", ">")), encoding="utf-8")
    done = run_stress(build_stress(tmp_path, ("-O1",), tmp_path), rounds=100, seed=7, seconds=15)
    assert done.returncode == 1
    assert done.stdout.startswith("round ")
    assert " of seed 7, line " in done.stdout
    assert "is_over == (is_last && received.stop == ARV_STOP_OVER_QUOTA)" in done.stdout
