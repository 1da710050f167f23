"""Counters begin at nothing, and what is read off is frozen."""

import dataclasses

import pytest

from asyncrev.executors.counts import Counts
from asyncrev.statistics import EngineStatistics


def test_counts_begin_at_nothing() -> None:
    """Losses by cause."""
    counts = Counts()
    assert (counts.batches, counts.frames, counts.retries) == (0, 0, 0)
    counts.lost["died"] += 2
    assert dict(counts.lost) == {"died": 2}


def test_statistics_are_frozen() -> None:
    """A snapshot."""
    figures = EngineStatistics(
        workers=1,
        ready=0,
        running=0,
        batches=0,
        frames=0,
        retries=0,
        restarts=0,
        hung_threads=0,
        lost={},
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        figures.workers = 2  # type: ignore[misc]
