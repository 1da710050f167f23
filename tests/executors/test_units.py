"""All executors of an engine: starts, restarts, ends."""

import asyncio
from typing import Any

import pytest

from asyncrev.errors import ExecutorLost
from asyncrev.executors import units as units_module
from asyncrev.executors.unit import UnitState
from asyncrev.executors.units import Units
from tests.support import until

pytestmark = pytest.mark.asyncio(loop_factories=["epoll"])


class Scripted:
    """A source and a starter in one."""

    can_replace = True
    in_order = True

    def __init__(self, units: int = 1) -> None:
        self.units = units
        self.started = 0
        self.fails = 0
        self.ended: list[tuple[Any, bool]] = []

    def start(self) -> Any:
        """Start, or fail."""
        self.started += 1
        if self.fails:
            self.fails -= 1
            raise ExecutorLost("no luck")
        return self.started

    def workers(self, executor: Any) -> int:
        """One."""
        return 1

    def end(self, executor: Any, *, kill: bool) -> None:
        """Keep it."""
        self.ended.append((executor, kill))

    def stop(self) -> None:
        """Do nothing more."""


def units_of(source: Any, failures: list[BaseException]) -> tuple[Units, list[str]]:
    """Return units and how often one has opened."""
    opened: list[str] = []
    units = Units(
        source,
        source,
        on_open=lambda: opened.append("open"),
        on_failed=failures.append,
        on_idle_loss=lambda unit: opened.append("lost"),
    )
    return units, opened


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncrev.restarts.FIRST_DELAY_S", 0.01)


async def test_all_start_and_all_end() -> None:
    """None is killed."""
    source = Scripted(3)
    units, _ = units_of(source, [])
    await units.open()
    assert [unit.state for unit in units] == [UnitState.OPEN] * 3
    assert (units.idle_workers, units.are_open, units.are_busy) == (3, True, False)
    await units.close()
    assert sorted(source.ended) == [(1, False), (2, False), (3, False)]
    assert units.least_loaded() is None


async def test_one_that_fails_at_the_first_start_ends_all() -> None:
    """Its error is raised."""
    source = Scripted(3)
    source.fails = 1
    units, _ = units_of(source, [])
    with pytest.raises(ExecutorLost, match="no luck"):
        await units.open()
    assert len(source.ended) == 2


async def test_lost_one_is_started_again_until_it_starts() -> None:
    """With a pause that grows."""
    source = Scripted()
    failures: list[BaseException] = []
    units, opened = units_of(source, failures)
    await units.open()
    (unit,) = units
    source.fails = 2
    unit.lose()
    units.restart(unit, None, "died")
    assert not units.are_open
    await until(lambda: units.are_open, "it is open again")
    assert (source.started, units.restarts, opened, failures) == (4, 1, ["open"], [])
    await units.close()


async def test_too_many_losses_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """And none starts any more."""
    monkeypatch.setattr(units_module, "RESTART_LIMIT", 2)
    source = Scripted()
    failures: list[BaseException] = []
    units, _ = units_of(source, failures)
    await units.open()
    (unit,) = units
    source.fails = 9
    unit.lose()
    units.restart(unit, None, "died")
    await until(lambda: failures, "it is reported")
    assert "2 times within 60 s" in str(failures[0])
    assert source.started == 2
    await units.close()


async def test_close_ends_what_is_about_to_start() -> None:
    """A restart that waits is dropped."""
    source = Scripted()
    units, opened = units_of(source, [])
    await units.open()
    (unit,) = units
    unit.lose()
    units.restart(unit, None, "died")
    await units.close()
    await asyncio.sleep(0.03)
    assert (source.started, opened) == (1, [])
    assert unit.state is UnitState.ENDED


async def test_one_that_starts_after_the_end_is_ended() -> None:
    """The engine has given up meanwhile."""
    source = Scripted(2)
    units, opened = units_of(source, [])
    await units.open()
    unit, other = units
    unit.lose()
    units.restart(unit, None, "died")
    unit.state = UnitState.ENDED
    await until(lambda: source.ended, "it is ended")
    assert source.ended == [(3, True)]
    assert (opened, units.restarts, other.state) == ([], 0, UnitState.OPEN)
    await units.close()
