"""Where workers come from, and how they end."""

import asyncio
import os
import signal
import subprocess
import sys
from concurrent.futures import BrokenExecutor, CancelledError, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from asyncrev.errors import SettingsError
from asyncrev.executors.pools import Loss, default_workers, given, loss_of, processes, threads
from tests.executors import work
from tests.executors.jobs import ScriptedExecutor
from tests.support import DEADLINE_S, ROOT, until, wait_until


def test_default_is_a_worker_per_core_that_may_be_used() -> None:
    """Not of the machine."""
    assert default_workers() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("error", "loss"),
    [
        (BrokenExecutor(), Loss("died", is_executor=True)),
        (CancelledError(), Loss("cancelled", is_executor=False)),
        (ValueError(), None),
    ],
)
def test_errors_tell_what_is_lost(error: BaseException, loss: Loss | None) -> None:
    """The function's own are no loss."""
    assert loss_of(error) == loss
    assert threads(1).loss_of(error) == loss
    assert given(ScriptedExecutor(), None).loss_of(error) == loss


def test_worker_process_survives_a_terminals_signals() -> None:
    """Ctrl-C reaches the whole group, and the server's drain needs its workers."""
    source = processes(1)
    executor: Any = source.make()
    pid = executor.submit(os.getpid).result(DEADLINE_S)
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGHUP)
    assert executor.submit(work.flip, b"a").result(DEADLINE_S) == b"A"
    source.end(executor, kill=False)
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.asyncio(loop_factories=["epoll"])
async def test_worker_that_hangs_is_killed() -> None:
    """At once."""
    source = processes(1)
    executor: Any = source.make()
    pid = executor.submit(os.getpid).result(DEADLINE_S)
    executor.attach(asyncio.get_running_loop(), bool)
    call = executor.submit(work.obey, b"hang")
    await asyncio.to_thread(source.end, executor, kill=True)
    await until(call.done, "the call has failed")
    assert isinstance(call.exception(), BrokenExecutor)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "it is gone")


SERVER = """
import os, sys
from asyncrev.executors.pools import processes
if __name__ == "__main__":
    executor = processes(1).make()
    print(executor.submit(os.getpid).result(), flush=True)
    sys.stdin.read()
"""


@pytest.mark.process
def test_worker_processes_end_with_a_server_that_is_killed(tmp_path: Path) -> None:
    """Else they would wait for calls for ever."""
    script = tmp_path / "server.py"
    script.write_text(SERVER, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        server.kill()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the worker has ended, too")


def test_given_executor_has_its_own_number_of_workers_if_it_says_so() -> None:
    """Or what the user says."""
    executor = ScriptedExecutor(workers=3)
    assert given(executor, None).workers(executor) == 3
    assert given(executor, 5).workers(executor) == 5
    source = given(executor, None)
    assert source.make() is executor
    assert (source.units, source.travels, source.can_replace) == (1, True, False)


def test_like_of_a_process_pool_has_its_arguments() -> None:
    """So that one that broke is replaced."""
    import multiprocessing

    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(2, context, initializer=work.flip, initargs=(b"",)) as pool:
        source = given(pool, None)
        assert source.make() is pool
        again = source.make()
        assert again is not pool
        assert again.submit(work.flip, b"a").result(DEADLINE_S) == b"A"
        assert source.workers(again) == 2
        source.end(again, kill=False)


def _no_cluster() -> ScriptedExecutor:
    raise RuntimeError("no cluster")


@pytest.mark.parametrize("factory", [_no_cluster, lambda address: ScriptedExecutor()])
def test_factory_that_cannot_be_called_is_refused_with_its_reason(factory: Any) -> None:
    """Whether it raises, or wants arguments."""
    with pytest.raises(SettingsError, match=r"raised .*(no cluster|address).* without arguments"):
        given(factory, None)
