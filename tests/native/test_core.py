"""The kernels' core, without Python: made-up bytes beside readers that go byte after byte."""

import pathlib
import shutil
import threading

import pytest

from tests.native import sanitize
from tests.native.building import NATIVE, build_fuzz, needs_gcc, run_fuzz

pytestmark = needs_gcc


def test_core_finds_in_made_up_bytes_what_slow_readers_find(tmp_path: pathlib.Path) -> None:
    """60,000 inputs, always the same, with AddressSanitizer and UndefinedBehaviorSanitizer."""
    done = run_fuzz(build_fuzz(tmp_path), 60_000, seed=0)
    assert (done.stdout, done.stderr) == ("60000 inputs of seed 0: no difference\n", "")
    assert done.returncode == 0


def test_fuzz_target_finds_a_defect_and_says_where(tmp_path: pathlib.Path) -> None:
    """The seed and the number of the input, with which it can be made again."""
    for source in NATIVE.glob("kernels_core*.[ch]"):
        shutil.copy(source, tmp_path)
    source = tmp_path / "kernels_core_scans.c"
    text = source.read_text(encoding="utf-8")
    assert text.count("payload_end_off--;") == 1
    source.write_text(text.replace("payload_end_off--;", ""), encoding="utf-8")
    program = build_fuzz(tmp_path, native=tmp_path)
    done = run_fuzz(program, 60_000, seed=3)
    assert done.returncode == 1
    assert done.stdout.startswith("input ")
    assert " of seed 3, scan of lines: off + spans[i].payload_end_off ==" in done.stdout
    assert run_fuzz(program, 60_000, seed=3).stdout == done.stdout
    assert run_fuzz(program, 60_000, seed=4).stdout != done.stdout


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_core_agrees_with_slow_readers_on_two_million_inputs(tmp_path: pathlib.Path) -> None:
    """Two processes, half of them each."""
    program = build_fuzz(tmp_path)
    said: dict[int, str] = {}

    def run(seed: int) -> None:
        said[seed] = run_fuzz(program, 1_000_000, seed).stdout

    threads = [threading.Thread(target=run, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {seed: f"1000000 inputs of seed {seed}: no difference\n" for seed in (1, 2)}


@pytest.mark.stress
@pytest.mark.timeout(3600)
def test_sanitizers_find_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """`make sanitize`, which says in its output what it could not do."""
    code = sanitize.main([])
    said = capfd.readouterr().out
    assert code == 0, said
    assert said.count("no difference") >= 2  # fuzz target and stress program
