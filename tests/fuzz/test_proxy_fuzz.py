"""proxy_fuzz: mutated headers are read as the oracle says, and the target finds what is wrong."""

from pathlib import Path

import pytest

from asyncrev.server import proxy_header
from tests.fuzz import proxy_fuzz, running


@pytest.mark.parametrize("data", proxy_fuzz.corpus())
def test_seeds_are_headers_that_are_read(data: bytes) -> None:
    """Each at once and in pieces, followed by data."""
    proxy_fuzz.check(data)
    proxy_fuzz.check(data + b"data")
    assert proxy_fuzz.expected(data[1:])[0] == len(data) - 1


def test_mutated_headers_are_read_as_the_oracle_says(tmp_path: Path) -> None:
    """20,000 of them."""
    assert running.run(proxy_fuzz, 20_000, 0, tmp_path) is None


def test_proxy_fuzzer_finds_a_defect_and_saves_the_input(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Such as ports with leading zeros."""
    port = proxy_header._port
    monkeypatch.setattr(proxy_header, "_port", lambda word: port(word.lstrip(b"0") or b"0"))
    path = running.run(proxy_fuzz, 20_000, 0, tmp_path)
    assert path is not None
    with pytest.raises(AssertionError):
        proxy_fuzz.check(path.read_bytes())
    monkeypatch.undo()
    proxy_fuzz.check(path.read_bytes())


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_proxy_on_a_million_inputs_is_as_the_oracle_says(tmp_path: Path) -> None:
    """Half of them in each of two processes."""
    running.run_in_two_processes(proxy_fuzz, 500_000, tmp_path)
