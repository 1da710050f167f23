"""bench: what is said of packages that are missing; runs are tested in tests/process/test_bench."""

import importlib.util
from typing import Any

import pytest

from asyncrev.bench.plan import Plan
from asyncrev.command.bench import bench
from asyncrev.command.bench_output import Output
from asyncrev.errors import SettingsError


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
