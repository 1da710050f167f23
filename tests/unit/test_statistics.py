"""statistics: frozen snapshots, every field explained."""

import dataclasses
from typing import Any

import pytest

from asyncrev.statistics import (
    BridgeStatistics,
    HandshakeStatistics,
    PoolStatistics,
    ServerStatistics,
)

KINDS = [PoolStatistics, BridgeStatistics, HandshakeStatistics, ServerStatistics]


def filled(kind: Any) -> Any:
    """Return a snapshot with something in every field."""
    return kind(**{field.name: number for number, field in enumerate(dataclasses.fields(kind))})


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_cannot_be_changed(kind: Any) -> None:
    """A snapshot stays what it was."""
    statistics = filled(kind)
    for field in dataclasses.fields(kind):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(statistics, field.name, 0)
    assert statistics == filled(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_take_keywords_only(kind: Any) -> None:
    """Fourteen integers in a row would be mixed up sooner or later."""
    with pytest.raises(TypeError, match="positional"):
        kind(*range(len(dataclasses.fields(kind))))


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_explain_every_field(kind: Any) -> None:
    """A field that the docstring does not name means nothing to its reader."""
    missing = [f.name for f in dataclasses.fields(kind) if f.name not in kind.__doc__]
    assert not missing
