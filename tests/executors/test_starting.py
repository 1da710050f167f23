"""Workers start with a trial of the function."""

import asyncio
import threading

import pytest

from asyncrev.errors import ExecutorLost, SettingsError
from asyncrev.executors.functions import ExecutorFunction, as_executor_function
from asyncrev.executors.pools import processes, threads
from asyncrev.executors.starting import Starter, in_thread
from tests.executors import work
from tests.support import until


@pytest.mark.parametrize("source", [threads(1), processes(1)])
def test_function_that_fails_its_trial_is_refused(source: object) -> None:
    """It has said that it may be tried."""
    function = as_executor_function(work.tried, travels=True)
    with pytest.raises(SettingsError, match=r"tried with an empty frame.*IndexError"):
        Starter(source, function).start()


def test_module_that_workers_cannot_import_is_refused() -> None:
    """Although this process may have it."""
    with pytest.raises(SettingsError, match=r"imported by a worker.*no_such_module"):
        Starter(processes(1), ExecutorFunction("no_such_module:work", False, False)).start()


def test_worker_that_dies_at_its_start_is_reported() -> None:
    """With the usual cause."""
    with pytest.raises(ExecutorLost, match=r"died at its start.*__main__"):
        Starter(processes(1), ExecutorFunction("tests.executors.dies:work", False, False)).start()


def test_nothing_starts_after_a_stop() -> None:
    """The engine is being closed."""
    starter = Starter(threads(1), as_executor_function(work.flip, travels=False))
    starter.stop()
    with pytest.raises(ExecutorLost, match="being closed"):
        starter.start()


@pytest.mark.asyncio(loop_factories=["epoll"])
async def test_in_thread_returns_what_the_function_does() -> None:
    """On a daemon thread."""
    thread = await in_thread(threading.current_thread, "other")
    assert thread is not threading.current_thread()
    assert thread.daemon
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0, "other")


@pytest.mark.asyncio(loop_factories=["epoll"])
async def test_in_thread_may_be_cancelled() -> None:
    """What comes later is dropped."""
    go, done = threading.Event(), threading.Event()

    def wait() -> None:
        go.wait(10)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).add_done_callback(
            lambda _: done.set()
        )

    loop = asyncio.get_running_loop()
    future = in_thread(wait, "other")
    future.cancel()
    go.set()
    await until(done.is_set, "the thread has ended")
    assert future.cancelled()
