"""tls_fuzz: the corpus, mutations of it, and that the target finds what is wrong."""

from pathlib import Path

import pytest

from asyncrev.work.tls_session import TlsSession
from tests.fuzz import running, tls_fuzz
from tests.lane_bench import Recorder
from tests.tls_pair import VERSIONS, Bench


@pytest.mark.parametrize("path", sorted(tls_fuzz.CORPUS.iterdir()), ids=lambda path: path.name)
def test_tls_on_an_input_of_the_corpus_harms_nobody(path: Path) -> None:
    """Each of them was written for a way to damage a stream, or was found by the fuzzer once."""
    tls_fuzz.check(path.read_bytes())


@pytest.mark.parametrize("version", sorted(VERSIONS))
def test_tls_fuzzer_has_clients_that_come_back(version: str) -> None:
    """One ticket does for all inputs."""
    for _ in range(3):
        bench = Bench(Recorder, version=version)
        bench.peer = tls_fuzz.come_back(version)
        bench.shake_hands()
        assert bench.peer.ssl.session_reused


def test_tls_on_mutated_inputs_harms_nobody(tmp_path: Path) -> None:
    """1,500 of them; ciphertext differs each time, what is done to it does not."""
    assert running.run(tls_fuzz, 1500, 0, tmp_path) is None


@pytest.mark.parametrize("more_bytes", [1, -1])
def test_tls_fuzzer_finds_a_defect_and_saves_the_input(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more_bytes: int,
) -> None:
    """Bytes of another lane, left in the scratch, or the last one lost."""
    read = TlsSession.read

    def read_wrong(self: TlsSession, view: memoryview) -> int:
        nbytes = read(self, view)
        return nbytes + more_bytes if nbytes == 64 else nbytes

    monkeypatch.setattr(TlsSession, "read", read_wrong)
    path = running.run(tls_fuzz, 1500, 0, tmp_path)
    assert path is not None
    assert str(path) in capsys.readouterr().err
    with pytest.raises(AssertionError):
        tls_fuzz.check(path.read_bytes())
    monkeypatch.undo()
    tls_fuzz.check(path.read_bytes())


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_tls_on_two_hundred_thousand_inputs_harms_nobody(tmp_path: Path) -> None:
    """Two processes, half of them each."""
    running.run_in_two_processes(tls_fuzz, 100_000, tmp_path)
