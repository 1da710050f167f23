"""A slot knows who is in it; the end of a worker is logged with its cause and its stacks."""

import asyncio
from typing import Any

import pytest

from asyncrev.supervisor.causes import cause_of
from asyncrev.supervisor.handle import HandleState
from asyncrev.supervisor.plan import Plan
from asyncrev.supervisor.slot import Slot, log_end

PLAN = Plan(1, {}, 1, 1.0)


class Worker:
    slot = 2
    pid = 7
    name = "worker 2 (pid 7)"
    state = HandleState.READY
    failure = ""
    stacks = ""


def test_workers_are_those_in_any_role() -> None:
    current, successor, leaving = (Worker() for _ in range(3))
    slot: Any = Slot(2, PLAN, (), current, successor, [leaving])  # type: ignore[arg-type,list-item]
    assert slot.workers == [current, successor, leaving]
    assert slot.serves
    slot.remove(current)
    assert slot.current is None
    assert not slot.serves
    slot.remove(leaving)
    slot.remove(successor)
    assert slot.workers == []


async def _restart() -> Slot:
    slot = Slot(0, PLAN)
    slot.restart = asyncio.get_running_loop().call_later(0, pytest.fail)
    slot.cancel_restart()
    slot.cancel_restart()
    await asyncio.sleep(0.01)
    return slot


def test_a_cancelled_restart_does_not_come() -> None:
    assert asyncio.run(_restart()).restart is None


def test_end_is_logged_with_stacks(caplog: pytest.LogCaptureFixture) -> None:
    worker: Any = Worker()
    worker.failure = "no such module"
    worker.stacks = "Thread 0x1:\n  File a\n\nThread 0x2:\n  File b\n"
    log_end(worker, cause_of(-6, hung=True), died=True)
    assert [record.getMessage() for record in caplog.records] == [
        "worker 2 (pid 7) was ended by SIGABRT, because it did not move: no such module",
        "worker 2 (pid 7): Thread 0x1:\n  File a",
        "worker 2 (pid 7): Thread 0x2:\n  File b",
    ]
    assert caplog.records[0].fields == {  # type: ignore[attr-defined]
        "worker": "2",
        "worker_pid": 7,
        "cause": "hung",
    }


@pytest.mark.parametrize(("died", "level"), [(False, "INFO"), (True, "ERROR")])
def test_only_an_expected_end_is_no_error(
    died: bool, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    log_end(Worker(), cause_of(0), died=died)  # type: ignore[arg-type]
    assert caplog.records[0].levelname == level
