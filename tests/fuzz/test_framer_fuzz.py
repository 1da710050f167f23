"""framer_fuzz: the corpus, mutations of it, and that the target finds what is wrong."""

import random
from pathlib import Path

import pytest

from asyncrev.work.framer import Framer
from tests.fuzz import framer_fuzz, running


@pytest.mark.parametrize("path", sorted(framer_fuzz.CORPUS.iterdir()), ids=lambda path: path.name)
def test_framer_on_an_input_of_the_corpus_agrees_with_the_oracle(path: Path) -> None:
    """Each of them was written for an edge, or was found by the fuzzer once."""
    framer_fuzz.check(path.read_bytes())


def test_framer_on_mutated_inputs_agrees_with_the_oracle(tmp_path: Path) -> None:
    """I17: 3,000 of them, always the same."""
    assert framer_fuzz.run(3000, 0, tmp_path) is None


def test_fuzzer_makes_the_same_inputs_of_a_seed_and_others_of_another() -> None:
    """So what failed can be made again."""
    seeds = framer_fuzz.corpus()

    def inputs(seed: int) -> list[bytes]:
        source = random.Random(seed)
        return [framer_fuzz.mutated(source, seeds) for _ in range(50)]

    assert inputs(1) == inputs(1)
    assert inputs(1) != inputs(2)
    assert len(set(inputs(1))) > 40


def test_fuzzer_finds_a_defect_and_saves_the_input(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A framer that loses a byte of a partial frame now and then would not live long."""
    keep_partial = Framer._keep_partial

    def keep_less(self: Framer, beginning: memoryview) -> None:
        keep_partial(self, beginning[:5])

    monkeypatch.setattr(Framer, "_keep_partial", keep_less)
    path = framer_fuzz.run(3000, 0, tmp_path)
    assert path is not None
    assert str(path) in capsys.readouterr().err
    with pytest.raises(AssertionError):
        framer_fuzz.check(path.read_bytes())
    monkeypatch.undo()
    framer_fuzz.check(path.read_bytes())


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_framer_on_a_million_inputs_agrees_with_the_oracle(tmp_path: Path) -> None:
    """Two processes, half of them each."""
    running.run_in_two_processes(framer_fuzz, 500_000, tmp_path)
