"""plane_core.c, without Python: two threads that play loop and worker, in many random rounds."""

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

STRESSES = {
    "threads": THREAD_SANITIZER,  # of data races
    "memory": SANITIZERS,
    "order": WEAK_MEMORY,  # of stores that are late
}
stresses = pytest.mark.parametrize("name", STRESSES)


def needed(name: str) -> Sequence[str]:
    """Return the options of a build; skip the test where gcc cannot do that."""
    options = STRESSES[name]
    sanitizer = options[:1] if options[0].startswith("-fsanitize") else ()
    if not can_link(sanitizer):
        pytest.skip(f"gcc has no {sanitizer[0]} that works here")
    return options


@stresses
def test_two_threads_lose_nothing(tmp_path: pathlib.Path, name: str) -> None:
    """Each peer gets exactly its bytes; accounts are right; nobody sleeps for ever; no races."""
    done = run_stress(build_stress(tmp_path, needed(name)), rounds=25, seed=0, seconds=15)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(" rounds of seed 0: no difference\n")
    assert not done.stdout.startswith("0 ")


@pytest.mark.stress
@pytest.mark.timeout(900)
@stresses
def test_two_threads_lose_nothing_for_long(tmp_path: pathlib.Path, name: str) -> None:
    """Three seeds, half a minute each."""
    program = build_stress(tmp_path, needed(name))
    for seed in (1, 2, 3):
        done = run_stress(program, rounds=1_000_000, seed=seed, seconds=30)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.endswith(f" rounds of seed {seed}: no difference\n")


def test_stress_finds_a_defect_and_says_where(tmp_path: pathlib.Path) -> None:
    """The round and the seed, and what is not so."""
    for source in ("plane_core.c", "plane_core.h", "kernels_core.c", "kernels_core.h"):
        shutil.copy(NATIVE / source, tmp_path)
    core = tmp_path / "plane_core.c"
    text = core.read_text(encoding="utf-8")
    quota = "row->in_flight_entries >= plane->most_entries"
    assert text.count(quota) == 1
    core.write_text(text.replace(quota, quota.replace(">=", ">")), encoding="utf-8")
    done = run_stress(build_stress(tmp_path, ("-O1",), tmp_path), rounds=100, seed=7, seconds=15)
    assert done.returncode == 1
    assert done.stdout.startswith("round ")
    assert " of seed 7, line " in done.stdout
    assert "is_over == (is_last && received.stop == ARV_STOP_OVER_QUOTA)" in done.stdout
