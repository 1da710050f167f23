"""descriptor_limit: RLIMIT_NOFILE, raised no further than needed."""

import resource

import pytest

from asyncrev.command.descriptor_limit import raise_descriptor_limit
from asyncrev.errors import LocalError


class FakeRlimit:
    """A process's RLIMIT_NOFILE."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> None:
        self.now = (soft, hard)
        self.refuses = False
        monkeypatch.setattr(resource, "getrlimit", lambda _: self.now)
        monkeypatch.setattr(resource, "setrlimit", self.set)

    def set(self, _: int, pair: tuple[int, int]) -> None:
        if self.refuses:
            raise ValueError("not allowed to raise maximum limit")
        self.now = pair


INFINITY = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "after"),
    [
        (2000, 4000, (2000, 4000)),  # enough
        (INFINITY, INFINITY, (INFINITY, INFINITY)),
        (100, 4000, (1064, 4000)),  # what is needed, not more
        (100, INFINITY, (1064, INFINITY)),
        (100, 1064, (1064, 1064)),
    ],
)
def test_soft_limit_is_raised_as_far_as_needed(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    soft: int,
    hard: int,
    after: tuple[int, int],
) -> None:
    """For 1,000 connections and some that are none; without a word."""
    fake = FakeRlimit(monkeypatch, soft, hard)
    raise_descriptor_limit(1000)
    assert fake.now == after
    assert not caplog.records


def test_hard_limit_too_low_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes as far as it may, and tells both numbers."""
    fake = FakeRlimit(monkeypatch, 100, 500)
    raise_descriptor_limit(1000)
    assert fake.now == (500, 500)
    assert "may open only 500 descriptors (ulimit -n), and needs 1064 for" in caplog.text


def test_limit_that_cannot_be_raised_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox may refuse; the message has the number."""
    FakeRlimit(monkeypatch, 100, 500).refuses = True
    with pytest.raises(LocalError, match="cannot raise the limit of open files to 500: not"):
        raise_descriptor_limit(1000)
