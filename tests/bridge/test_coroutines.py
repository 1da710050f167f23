"""coroutines: tasks of a processor, whatever they raise, and the processor's life."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from asyncrev.bridge.coroutines import Coroutines
from asyncrev.errors import ProcessorError
from asyncrev.later_processors import coroutine_factory
from asyncrev.work.requests import Request, RequestKind
from tests.support import until

EPOLL = pytest.mark.asyncio(loop_factories=["epoll"])


class Noting:
    """A job that keeps what came of it."""

    def __init__(self, state: Any, kind: RequestKind = RequestKind.FRAME) -> None:
        self.request = Request(kind, b"abc")
        self.state = state
        self.info = SimpleNamespace(peer_address="p")
        self.engine_data: Any = None
        self.outcomes: list[tuple[bytes | None, BaseException | None]] = []

    def finish(self, reply: bytes | None, error: BaseException | None = None) -> None:
        self.outcomes.append((reply, error))


def engine_of(processor: Any) -> Coroutines:
    factory = coroutine_factory(processor)
    assert factory is not None
    return Coroutines(factory, 30.0)


async def outcome_of(processor: Any) -> tuple[bytes | None, BaseException | None]:
    engine = engine_of(processor)
    job = Noting(engine.open_lane())
    engine.start(job)
    await until(lambda: job.outcomes, "it has an outcome")
    assert len(job.outcomes) == 1
    return job.outcomes[0]


@EPOLL
async def test_replies_become_bytes_that_nobody_changes() -> None:
    """The coroutine may keep and change what it has returned."""
    kept = bytearray(b"kept")

    async def answer(data: bytes) -> Any:
        return {b"abc": memoryview(kept)[1:]}[data]

    reply, error = await outcome_of(answer)
    kept[:] = b"____"
    assert (type(reply), reply, error) == (bytes, b"ept", None)


@EPOLL
@pytest.mark.parametrize("raised", [ValueError("no"), SystemExit(3), asyncio.CancelledError()])
async def test_whatever_it_raises_is_the_error_of_its_request(raised: BaseException) -> None:
    """SystemExit ends no loop, and a cancellation from within is an error."""

    async def fails(data: bytes) -> bytes:
        raise raised

    reply, error = await outcome_of(fails)
    assert reply is None
    if isinstance(raised, asyncio.CancelledError):
        assert isinstance(error, ProcessorError)
    else:
        assert error is raised


@EPOLL
async def test_what_is_not_bytes_is_refused() -> None:
    """With the hint that other processors get."""

    async def text(data: bytes) -> Any:
        return "text"

    reply, error = await outcome_of(text)
    assert reply is None
    assert isinstance(error, ProcessorError)
    assert "encode()" in str(error)


@EPOLL
async def test_processor_is_made_once_and_closed_when_nothing_of_it_runs() -> None:
    """Also when it is cancelled meanwhile."""
    calls: list[str] = []
    gate = asyncio.Event()

    class Slow:
        def __init__(self) -> None:
            calls.append("made")

        async def process(self, data: bytes) -> bytes:
            try:
                await gate.wait()
            finally:
                await asyncio.sleep(0)
                calls.append("ended")
            return data

        def close(self) -> None:
            calls.append("closed")

    engine = engine_of(Slow)
    state = engine.open_lane()
    jobs = [Noting(state) for _ in range(2)]
    for job in jobs:
        engine.start(job)
    await asyncio.sleep(0)
    engine.cancel(jobs[0])
    engine.close_lane(state)
    await until(lambda: jobs[0].outcomes, "the cancelled one has ended")
    assert calls == ["made", "ended"]
    gate.set()
    await until(lambda: "closed" in calls, "it is closed")
    assert calls == ["made", "ended", "ended", "closed"]
    assert jobs[1].outcomes == [(b"abc", None)]


@EPOLL
async def test_connection_without_a_request_makes_no_processor() -> None:
    """So there is nothing to close, either."""

    class Never:
        def __init__(self) -> None:
            raise AssertionError("made")

        async def process(self, data: bytes) -> bytes:
            return data

    engine = engine_of(Never)
    engine.close_lane(engine.open_lane())
    await asyncio.sleep(0)


@EPOLL
async def test_close_that_raises_is_reported(loop_errors: list[dict[str, Any]]) -> None:
    """It costs nobody anything."""

    class Bad:
        async def process(self, data: bytes) -> bytes:
            return data

        async def close(self) -> None:
            raise ValueError("no")

    engine = engine_of(Bad)
    state = engine.open_lane()
    job = Noting(state)
    engine.start(job)
    await until(lambda: job.outcomes, "it is answered")
    engine.close_lane(state)
    await until(lambda: loop_errors, "it is reported")
    assert "close() failed" in loop_errors[0]["message"]
    loop_errors.clear()


@EPOLL
async def test_methods_need_not_be_asynchronous() -> None:
    """All but `process`."""

    class Mixed:
        async def process(self, data: bytes) -> bytes:
            return data

        def connected(self, info: Any) -> bytes:
            return info.peer_address.encode()

        def eof(self) -> bytes:
            return b"bye"

    engine = engine_of(Mixed)
    state = engine.open_lane()
    jobs = [Noting(state, kind) for kind in RequestKind]
    for job in jobs:
        engine.start(job)
    await until(lambda: all(job.outcomes for job in jobs), "all are answered")
    assert [job.outcomes for job in jobs] == [[(b"p", None)], [(b"abc", None)], [(b"bye", None)]]
    assert (engine.calls_connected, engine.calls_eof, engine.timeout_s) == (True, True, 30.0)
