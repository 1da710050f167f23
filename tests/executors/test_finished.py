"""Batches that are done, told to the loop."""

import asyncio
import threading
from concurrent.futures import Future

import pytest

from asyncrev.executors.batching import Batch
from asyncrev.executors.finished import FinishedBatches
from tests.support import until

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "epoll", "uvloop"])


def watched(finished: FinishedBatches) -> Batch:
    """Return a batch whose call is not done."""
    batch = Batch([], None)
    batch.future = Future()
    finished.watch(batch)
    return batch


async def test_batches_are_told_from_any_thread_once_and_together() -> None:
    """One callback for all that are done by then."""
    told: list[list[Batch]] = []
    finished = FinishedBatches(lambda: told.append(list(finished.take_all())))
    finished.open()
    batches = [watched(finished) for _ in range(6)]

    def finish(some: list[Batch]) -> None:
        for batch in some:
            assert batch.future is not None
            batch.future.set_result(None)

    finish(batches[:3])  # on the loop's thread
    assert not told  # in a later callback
    await until(lambda: told, "they are told of")
    assert told == [batches[:3]]
    thread = threading.Thread(target=finish, args=(batches[3:],))
    thread.start()
    thread.join()  # the loop does nothing meanwhile
    await until(lambda: len(told) > 1, "they are told of")
    await asyncio.sleep(0)
    assert [batch for some in told for batch in some] == batches
    assert len(told) == 2


async def test_batches_that_are_over_are_not_told_of() -> None:
    """Their executor was lost before."""
    told: list[list[Batch]] = []
    finished = FinishedBatches(lambda: told.append(list(finished.take_all())))
    finished.open()
    one, two = watched(finished), watched(finished)
    one.is_over = True
    for batch in (one, two):
        assert batch.future is not None
        batch.future.set_exception(OSError())
    await until(lambda: told, "they are told of")
    assert told == [[two]]


async def test_results_after_the_end_of_the_loop_are_dropped() -> None:
    """As of a thread that hung."""
    finished = FinishedBatches(lambda: None)
    loop = asyncio.new_event_loop()

    async def begin() -> Batch:
        finished.open()
        return watched(finished)

    batch = await asyncio.to_thread(loop.run_until_complete, begin())
    loop.close()
    assert batch.future is not None
    batch.future.set_result(None)  # raises nothing
    assert list(finished.take_all()) == [batch]
