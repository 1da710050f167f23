"""bench: names of saved runs, and what is missing; runs are tested in tests/process/test_bench."""

import importlib.util
from typing import Any

import pytest

from asyncrev.bench.plan import Plan
from asyncrev.command.bench import Output, bench, saved_path
from asyncrev.errors import SettingsError


def test_name_of_a_run_is_a_file_in_the_users_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what looks like a file is one."""
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert saved_path("before") == "/data/asyncrev/bench/before.json"
    assert saved_path("./before") == "./before"
    assert saved_path("before.json") == "before.json"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/x")
    assert saved_path("a") == "/home/x/.local/share/asyncrev/bench/a.json"
    with pytest.raises(SettingsError, match="is no name of a run"):
        saved_path("a\nb")


@pytest.mark.parametrize(
    ("package", "output", "words"),
    [
        ("hdrh", Output(), r"pip install 'asyncrev\[bench\]'"),
        ("matplotlib", Output(report="r.png"), "matplotlib is not installed"),
    ],
)
def test_what_is_not_installed_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, package: str, output: Output, words: str
) -> None:
    """Before anything is sent."""
    find_spec = importlib.util.find_spec

    def without(name: str, *args: Any) -> Any:
        return None if name == package else find_spec(name, *args)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(SettingsError, match=words):
        bench(Plan(port=1), output)
