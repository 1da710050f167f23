"""What several unit tests need."""

from typing import Any

import pytest

from asyncrev.lane import Lane


@pytest.fixture
def broken_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `Lane.work` a defect of this package that the word "die" brings out."""
    work = Lane.work

    def work_or_die(lane: Lane, entry: Any, *args: Any) -> None:
        if bytes(entry.view[: entry.nbytes]) == b"die":
            raise RuntimeError("a defect")
        work(lane, entry, *args)

    monkeypatch.setattr(Lane, "work", work_or_die)
