"""What the tests of several modules of the command need."""

import os

import pytest

from asyncrev.command import serving
from asyncrev.command.settings import ServeSettings


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[ServeSettings]:
    """What `serve` would serve with; it returns 0 at once instead."""
    options: list[ServeSettings] = []

    def note(asked: ServeSettings, signals: object, warnings: object) -> int:
        options.append(asked)
        return 0

    monkeypatch.setattr(serving, "serve_until_signal", note)
    for name in list(os.environ):
        if name.startswith("ASYNCREV_"):
            monkeypatch.delenv(name)
    return options
