"""The engine with real workers and with a scripted executor."""

import asyncio
import contextlib
import os
import signal
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest

from asyncrev.errors import ExecutorLost, ProcessorError
from asyncrev.executors import hung_threads, units
from asyncrev.executors.engine import ExecutorEngine
from tests.executors import work
from tests.executors.jobs import (
    LOCAL_KINDS,
    ScriptedExecutor,
    answers,
    asked,
    engine_of,
    started,
)
from tests.support import until, wait_until

pytestmark = pytest.mark.asyncio(loop_factories=["epoll"])


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost workers are started again soon."""
    monkeypatch.setattr("asyncrev.restarts.FIRST_DELAY_S", 0.01)


async def pid_of(engine: ExecutorEngine) -> int:
    """Return the process id of the worker that is asked."""
    (pid,) = await asked(engine, b"pid")
    return int(pid)


# -- plain work ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LOCAL_KINDS)
async def test_every_frame_gets_its_own_answer(kind: str) -> None:
    """In whatever batches they go."""
    async with engine_of(kind, work.flip, workers=2) as engine:
        frames = [b"frame %d" % number for number in range(500)]
        assert await asked(engine, *frames) == [frame.swapcase() for frame in frames]
        figures = engine.statistics()
    assert figures.frames == 500
    assert 500 / 16 <= figures.batches < 100
    assert (figures.ready, figures.running, figures.workers) == (0, 0, 2)


@pytest.mark.parametrize("kind", LOCAL_KINDS)
async def test_an_exception_costs_no_other_frame_its_answer(kind: str) -> None:
    """Whether it can travel or not, and whatever it is."""
    async with engine_of(kind, work.obey, workers=1) as engine:
        good, bad, odd, left, text, none, last = await asked(
            engine, b"a", b"raise so", b"unpicklable", b"exit", b"text", b"none", b"z"
        )
    assert (good, none, last) == (b"A", None, b"Z")
    assert (type(bad), str(bad)) == (ValueError, "so")
    assert "work.py" in bad.__notes__[0]
    assert isinstance(odd, ProcessorError)
    assert "Unpicklable: one argument" in str(odd)
    assert isinstance(left, ProcessorError)
    assert isinstance(text, ProcessorError)
    assert "encode" in str(text)


@pytest.mark.parametrize("kind", [kind for kind in LOCAL_KINDS if kind != "threads"])
async def test_large_frames_go_by_shared_memory_and_leave_nothing(kind: str) -> None:
    """Replies, too, and a frame that is longer than a batch."""
    before = sorted(os.listdir("/dev/shm"))
    async with engine_of(kind, work.flip, workers=2) as engine:
        frames = [bytes([65 + n % 26]) * (100_000 + n) for n in range(20)]
        frames += [b"small", b"x" * 3_000_000]
        assert await asked(engine, *frames) == [frame.swapcase() for frame in frames]
        assert sum(len(unit.arenas._free) for unit in engine._units) >= 1
    assert sorted(os.listdir("/dev/shm")) == before


# -- batches ---------------------------------------------------------------------------------------


async def test_idle_workers_share_what_is_ready() -> None:
    """Nobody waits for a batch to fill."""
    executor = ScriptedExecutor(workers=2)
    async with engine_of(executor, work.flip) as engine:
        jobs = started(engine, *(b"%d" % n for n in range(5)))
        await until(lambda: len(executor.calls) == 2, "both workers have a batch")
        assert [len(executor.payloads(n)) for n in range(2)] == [3, 2]
        executor.run()
        executor.run()
        assert await answers(jobs) == [b"%d" % n for n in range(5)]


async def test_busy_workers_get_full_batches_ahead_and_no_more() -> None:
    """What is ready gathers while all have work."""
    executor = ScriptedExecutor(workers=1)
    async with engine_of(executor, work.flip, batch_frames=4) as engine:
        jobs = started(engine, b"a")
        await until(lambda: executor.calls, "it has the first")
        jobs += started(engine, b"b", b"c")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert executor.submitted == 1  # no full batch
        jobs += started(engine, *(b"d" * n for n in range(1, 9)))
        await until(lambda: executor.submitted == 2, "a full one is ahead")
        assert len(executor.payloads(1)) == 4
        await asyncio.sleep(0)
        assert executor.submitted == 2
        while executor.calls:
            executor.run()
            await asyncio.sleep(0.01)
        assert len(await answers(jobs)) == 11


async def test_batch_ends_at_its_bytes() -> None:
    """A longer frame goes alone."""
    executor = ScriptedExecutor(workers=1)
    async with engine_of(executor, work.flip, batch_bytes=10) as engine:
        jobs = started(engine, b"a" * 6, b"b" * 6, b"c" * 50, b"d")
        sizes = []
        while len(sizes) < 4:
            await until(lambda: executor.calls, "a batch was sent")
            sizes.append([len(payload) for payload in executor.payloads(0)])
            executor.run()
            await asyncio.sleep(0.001)
        await answers(jobs)
    assert sizes == [[6], [6], [50], [1]]


async def test_cancelled_frames_are_not_sent() -> None:
    """Each is still finished, once; that of a sent one is its worker's."""
    executor = ScriptedExecutor(workers=1)
    async with engine_of(executor, work.flip) as engine:
        first, *rest = started(engine, b"a")
        await until(lambda: executor.calls, "it was sent")
        rest = started(engine, b"b", b"c")
        engine.cancel(first)
        engine.cancel(rest[0])
        assert await answers([rest[0]]) == [None]
        executor.run()
        await until(lambda: executor.calls, "the next was sent")
        assert executor.payloads(0) == [b"c"]
        executor.run()
        assert await answers([first, rest[1]]) == [b"A", b"C"]


# -- losses ----------------------------------------------------------------------------------------


async def test_killed_worker_loses_what_it_had_and_no_other_frame(tmp_path: Path) -> None:
    """Those behind, and those of another worker, are answered; a new worker takes its place."""
    go = tmp_path / "go"
    async with engine_of("processes", work.obey, workers=2, batch_frames=4) as engine:
        hold = started(engine, b"wait %s" % bytes(go), b"wait %s" % bytes(go))
        await until(lambda: engine.statistics().running == 2, "both are busy")
        rest = started(engine, *(b"r%d" % n for n in range(40)))
        await until(lambda: engine.statistics().running == 10, "full batches wait")
        os.kill(engine._units._units[0].executor.pid, signal.SIGKILL)
        await until(lambda: hold[0].answer.done(), "the loss is noticed")
        go.touch()
        lost, kept = await answers(hold)
        assert isinstance(lost, ExecutorLost)
        assert kept.startswith(b"WAIT")
        assert await answers(rest) == [b"R%d" % n for n in range(40)]
        await until(lambda: engine.statistics().workers == 2, "it has another worker")
        figures = engine.statistics()
    assert (figures.lost, figures.restarts, figures.retries) == ({"died": 1}, 1, 0)


async def test_frame_that_kills_its_worker_is_isolated_where_frames_may_be_repeated() -> None:
    """Its batch mates are tried again, each alone, and answered."""
    async with engine_of("processes", work.flip_again, workers=1) as engine:
        frames = [b"a", b"b", b"die", b"c", b"d"]
        a, b, died, c, d = await asked(engine, *frames)
        assert (a, b, c, d) == (b"A", b"B", b"C", b"D")
        assert isinstance(died, ExecutorLost)
        figures = engine.statistics()
    assert figures.lost == {"died": 1}
    assert figures.retries == 5


async def test_frame_that_kills_its_worker_takes_its_batch_where_frames_may_not() -> None:
    """What may have been processed is not processed again."""
    async with engine_of("processes", work.obey, workers=1) as engine:
        got = await asked(engine, b"a", b"die", b"c")
        assert [type(answer) for answer in got] == [ExecutorLost] * 3
        assert await asked(engine, b"next") == [b"NEXT"]
        figures = engine.statistics()
    assert (figures.lost, figures.retries) == ({"died": 3}, 0)


async def test_hung_worker_is_killed_and_replaced() -> None:
    """Its batch is lost; what waited behind it is answered."""
    async with engine_of("processes", work.obey, workers=1, timeout_s=2, batch_frames=2) as engine:
        pid = await pid_of(engine)
        jobs = started(engine, b"hang")
        await until(lambda: engine.statistics().running, "it has it")
        jobs += started(engine, b"x", b"y")
        hung, x, y = await answers(jobs)
        assert isinstance(hung, ExecutorLost)
        assert "in time" in str(hung)
        assert (x, y) == (b"X", b"Y")
        assert await pid_of(engine) != pid
        assert engine.statistics().lost == {"hung": 1}
        with contextlib.suppress(ProcessLookupError):
            await until(lambda: not Path(f"/proc/{pid}").exists(), "it is gone")


async def test_hung_thread_is_left_behind_and_replaced(tmp_path: Path) -> None:
    """Its frame is lost; another thread answers what waited, and the close does not wait."""
    go = tmp_path / "go"
    async with engine_of("threads", work.obey, workers=1, timeout_s=0.4, batch_frames=2) as engine:
        jobs = started(engine, b"wait %s" % bytes(go))
        await until(lambda: engine.statistics().running, "it has it")
        jobs += started(engine, b"x", b"y")
        hung, x, y = await answers(jobs)
        assert isinstance(hung, ExecutorLost)
        assert "in time" in str(hung)
        assert (x, y) == (b"X", b"Y")
        figures = engine.statistics()
        assert (figures.lost, figures.hung_threads, figures.workers) == ({"hung": 1}, 1, 1)
        await engine.close(0.01)
        go.touch()
        await until(lambda: not engine.statistics().hung_threads, "it has returned")


async def test_too_many_hung_threads_are_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each keeps memory, and may keep a core busy."""
    monkeypatch.setattr(hung_threads, "MOST_HUNG_THREADS", 2)
    failures: list[BaseException] = []
    wait = b"wait %s" % bytes(tmp_path / "go")
    async with engine_of("threads", work.obey, failures.append, workers=2, timeout_s=0.4) as engine:
        assert [type(lost) for lost in await asked(engine, wait, wait)] == [ExecutorLost] * 2
        await until(lambda: failures, "it is reported")
        assert "threads of the executor hang" in str(failures[0])
    (tmp_path / "go").touch()
    await until(lambda: not engine.statistics().hung_threads, "both have returned")


async def test_worker_that_was_killed_while_idle_is_replaced_before_a_frame_needs_it() -> None:
    """And costs no frame."""
    async with engine_of("processes", work.obey, workers=1) as engine:
        os.kill(await pid_of(engine), signal.SIGKILL)
        await until(lambda: engine.statistics().restarts == 1, "another one has started")
        assert await asked(engine, b"a") == [b"A"]
        figures = engine.statistics()
    assert (figures.lost, figures.restarts, figures.workers) == ({}, 1, 1)


async def test_frame_that_finds_its_worker_dead_goes_to_the_next_one() -> None:
    """The loop has not noticed yet; the submission does."""
    async with engine_of("processes", work.obey, workers=1) as engine:
        pid = await pid_of(engine)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "it is gone")  # the loop stands
        assert await asked(engine, b"a") == [b"A"]
        figures = engine.statistics()
    assert (figures.lost, figures.restarts) == ({}, 1)


async def test_too_many_losses_are_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported once, and everything fails from then on."""
    monkeypatch.setattr(units, "RESTART_LIMIT", 3)
    failures: list[BaseException] = []
    made = []

    def make() -> ScriptedExecutor:
        made.append(ScriptedExecutor())
        return made[-1]

    async with engine_of(make, work.flip, failures.append) as engine:
        for _ in range(3):
            jobs = started(engine, b"a")
            await until(lambda: made[-1].calls, "it was sent")
            made[-1].break_down(BrokenExecutor("so it is"))
            (lost,) = await answers(jobs)
            assert isinstance(lost, ExecutorLost)
        (refused,) = await asked(engine, b"b")
        assert isinstance(refused, ExecutorLost)
        assert "3 times within 60 s" in str(refused)
    assert failures == [refused]


async def test_given_executor_that_cannot_be_replaced_is_the_end_when_it_breaks() -> None:
    """With advice."""
    failures: list[BaseException] = []
    executor = ScriptedExecutor()
    async with engine_of(executor, work.flip, failures.append) as engine:
        jobs = started(engine, b"a")
        await until(lambda: executor.calls, "it was sent")
        executor.break_down(BrokenExecutor("so it is"))
        await answers(jobs)
        await until(lambda: failures, "it is reported")
    assert "a function that makes executors" in str(failures[0])


async def test_several_workers_that_break_together_try_frames_again_one_at_a_time() -> None:
    """Else nobody would know which frame broke the pool."""
    made: list[ScriptedExecutor] = []

    def make() -> ScriptedExecutor:
        made.append(ScriptedExecutor(workers=2))
        return made[-1]

    async with engine_of(make, work.flip_again, batch_frames=2) as engine:
        jobs = started(engine, b"a", b"b", b"c")
        await until(lambda: len(made[0].calls) == 2, "both have a batch")
        made[0].break_down(BrokenExecutor("so it is"))
        for _ in range(3):
            await until(lambda: len(made) == 2 and made[1].calls, "one is tried again")
            assert [len(made[1].payloads(n)) for n in range(len(made[1].calls))] == [1]
            made[1].run()
            await asyncio.sleep(0.001)
        assert await answers(jobs) == [b"A", b"B", b"C"]


# -- the end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LOCAL_KINDS)
async def test_close_waits_for_answers(kind: str, tmp_path: Path) -> None:
    """As long as it may."""
    async with engine_of(kind, work.obey, workers=1) as engine:
        jobs = started(engine, b"wait %s" % bytes(tmp_path / "go"), b"a")
        await until(lambda: engine.statistics().running, "it has them")
        closing = asyncio.create_task(engine.close(5))
        await asyncio.sleep(0)
        (tmp_path / "go").touch()
        await closing
        assert [type(answer) for answer in await answers(jobs)] == [bytes, bytes]


async def test_close_does_not_wait_for_ever() -> None:
    """What is not answered fails, and the worker is killed."""
    async with engine_of("processes", work.obey, workers=1) as engine:
        jobs = started(engine, b"hang", b"a")
        await until(lambda: engine.statistics().running, "it has them")
        await engine.close(0.05)
        assert [type(answer) for answer in await answers(jobs)] == [ExecutorLost] * 2


async def test_no_worker_for_too_long_fails_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the next start is far away."""
    monkeypatch.setattr("asyncrev.restarts.FIRST_DELAY_S", 30.0)
    async with engine_of("processes", work.obey, workers=1, timeout_s=0.4) as engine:
        (lost,) = await asked(engine, b"die")
        (later,) = await asked(engine, b"a")
        assert isinstance(lost, ExecutorLost)
        assert isinstance(later, ExecutorLost)
        assert "could be started for 0.4 s" in str(later)
        assert engine.statistics().lost == {"died": 1, "no worker": 1}
