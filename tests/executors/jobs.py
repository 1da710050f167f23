"""Requests as the bridge makes them, for an engine alone; and an executor that a test answers."""

import asyncio
import contextlib
import importlib.util
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future
from typing import Any

from asyncrev.executors.engine import ExecutorEngine
from asyncrev.executors.making import make_engine
from asyncrev.executors.settings import ExecutorSettings
from tests.support import DEADLINE_S

HAS_INTERPRETERS = importlib.util.find_spec("concurrent.interpreters") is not None
LOCAL_KINDS = ["threads", "processes", *(["interpreters"] if HAS_INTERPRETERS else [])]


class Request:
    """What the engine looks at."""

    def __init__(self, payload: bytes) -> None:
        self.payload = payload


class Job:
    """A started request."""

    def __init__(self, payload: bytes) -> None:
        self.request = Request(payload)
        self.engine_data: Any = None
        self.is_starting = True
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def finish(self, reply: bytes | None, error: BaseException | None = None) -> None:
        """Keep what came of it; a second call fails."""
        assert not self.is_starting, "finished from within start()"
        self.answer.set_result(error if error is not None else reply)


def started(engine: ExecutorEngine, *payloads: bytes) -> list[Job]:
    """Have the engine answer requests."""
    jobs = []
    for payload in payloads:
        job = Job(payload)
        engine.start(job)
        job.is_starting = False
        jobs.append(job)
    return jobs


async def answers(jobs: list[Job]) -> list[Any]:
    """Return what came of requests, errors as objects."""
    async with asyncio.timeout(DEADLINE_S):
        return [await job.answer for job in jobs]


async def asked(engine: ExecutorEngine, *payloads: bytes) -> list[Any]:
    """Have the engine answer requests, and return what came of them."""
    return await answers(started(engine, *payloads))


@contextlib.asynccontextmanager
async def engine_of(
    executor: Any,
    function: Any,
    on_failed: Callable[[BaseException], object] = lambda error: None,
    **settings: Any,
) -> AsyncIterator[ExecutorEngine]:
    """Open an engine, and close it."""
    engine = make_engine(executor, function, ExecutorSettings(**settings), on_failed)
    await engine.open()
    try:
        yield engine
    finally:
        await engine.close(0.01)


class ScriptedExecutor(Executor):
    """Keeps calls until the test says what comes of them; trials run at once."""

    def __init__(self, workers: int = 1) -> None:
        self._max_workers = workers
        self.calls: list[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = []
        self.submitted = 0
        self.is_broken: BaseException | None = None

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Keep the call."""
        if self.is_broken is not None:
            raise self.is_broken
        future: Future[Any] = Future()
        if function.__name__ == "try_function":
            future.set_result(function(*args, **kwargs))
        else:
            self.submitted += 1
            self.calls.append((future, function, args))
        return future

    def payloads(self, index: int) -> list[bytes]:
        """Return the frames of a kept call."""
        return list(self.calls[index][2][1])

    def run(self, index: int = 0) -> None:
        """Run a kept call."""
        future, function, args = self.calls.pop(index)
        future.set_result(function(*args))

    def fail(self, index: int, error: BaseException) -> None:
        """Have a kept call fail."""
        self.calls.pop(index)[0].set_exception(error)

    def break_down(self, error: BaseException) -> None:
        """Have all calls fail, these and those to come, as a process pool does."""
        self.is_broken = error
        calls, self.calls = self.calls, []
        for future, _, _ in calls:
            future.set_exception(error)
