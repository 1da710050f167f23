"""What may be given as executor."""

import importlib.util
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from asyncrev.errors import SettingsError
from asyncrev.executors.making import make_engine
from asyncrev.executors.settings import ExecutorSettings
from tests.executors import work
from tests.executors.jobs import asked, engine_of
from tests.support import until

FORKSERVER = multiprocessing.get_context("forkserver")


@pytest.mark.parametrize(
    ("executor", "why"),
    [
        ("process", "give one of processes, threads, interpreters, dask"),
        (3, "give a concurrent.futures.Executor"),
        (lambda: 3, "factory of executors returned 3"),
    ],
)
def test_what_is_no_executor_is_refused(executor: object, why: str) -> None:
    """With what may be given."""
    with pytest.raises(SettingsError, match=why):
        make_engine(executor, work.flip)


def test_pool_that_forks_is_refused() -> None:
    """A fork copies locks that nobody releases."""
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork"))
    with pool, pytest.raises(SettingsError, match="forkserver"):
        make_engine(pool, work.flip)


def test_address_is_of_dask_only() -> None:
    """Elsewhere it is a mistake."""
    with pytest.raises(SettingsError, match="only dask has one"):
        make_engine("threads", work.flip, ExecutorSettings(address="tcp://127.0.0.1:8786"))


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="this Python has interpreters")
def test_interpreters_are_refused_where_python_has_none() -> None:
    """With the version."""
    with pytest.raises(SettingsError, match=r"new in 3\.14; use processes"):
        make_engine("interpreters", work.flip)


@pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="distributed is not installed"
)
def test_dask_needs_a_function_that_may_be_repeated() -> None:
    """It repeats what a lost worker had."""
    with pytest.raises(SettingsError, match=r"flip\.idempotent = True"):
        make_engine("dask", work.flip)


@pytest.mark.asyncio(loop_factories=["epoll"])
async def test_given_executors_and_factories_are_used() -> None:
    """Threads of one call any function."""
    with ThreadPoolExecutor(2) as pool:
        async with engine_of(pool, lambda frame: frame[::-1]) as engine:
            assert await asked(engine, b"abc", b"def") == [b"cba", b"fed"]
            assert engine.statistics().workers == 2
        assert pool.submit(len, b"abc").result() == 3  # it is still the user's
    async with engine_of(lambda: ProcessPoolExecutor(2, FORKSERVER), work.flip) as engine:
        assert await asked(engine, b"abc", b"def") == [b"ABC", b"DEF"]


@pytest.mark.asyncio(loop_factories=["epoll"])
async def test_given_process_pool_that_breaks_is_replaced_by_its_like(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the same arguments."""
    monkeypatch.setattr("asyncrev.restarts.FIRST_DELAY_S", 0.01)
    with ProcessPoolExecutor(2, FORKSERVER) as pool:
        async with engine_of(pool, work.flip_again) as engine:
            a, died, c = await asked(engine, b"a", b"die", b"c")
            assert (a, c, type(died).__name__) == (b"A", b"C", "ExecutorLost")
            await until(lambda: engine.statistics().workers == 2, "it is replaced once more")


def test_memory_of_batches_counts_where_workers_are_elsewhere() -> None:
    """Two batches per worker, with room for replies; threads have the frames themselves."""
    settings = ExecutorSettings(workers=3, batch_bytes=1000)
    apart = make_engine("processes", work.flip, settings)
    assert apart.memory_bytes(500) == 3 * 8 * 1000
    assert apart.memory_bytes(5000) == 3 * 8 * 5000
    assert make_engine("threads", work.flip, settings).memory_bytes(5000) == 0
