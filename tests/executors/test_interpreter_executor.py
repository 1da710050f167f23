"""An executor that is one interpreter, where Python has them."""

import asyncio
import logging
from typing import Any

import pytest

from asyncrev.errors import SettingsError
from asyncrev.executors import interpreter_executor
from asyncrev.executors.interpreter_executor import check_interpreters
from tests.executors import work
from tests.executors.jobs import HAS_INTERPRETERS
from tests.executors.socket_workers import attached, interpreter, results
from tests.support import until, wait_until

with_interpreters = pytest.mark.skipif(
    not HAS_INTERPRETERS, reason="this Python has no interpreters"
)


@with_interpreters
@pytest.mark.asyncio(loop_factories=["asyncio", "epoll", "uvloop"])
async def test_interpreter_is_another_one() -> None:
    """With modules of its own."""
    async with attached(interpreter) as executor:
        assert await results(executor.submit(work.sees_pytest, b"")) == [b"no"]
    assert not executor.is_alive
    assert executor.stack() == ""


@with_interpreters
@pytest.mark.asyncio(loop_factories=["epoll"])
async def test_interpreter_that_hangs_is_left_behind(tmp_path: Any) -> None:
    """Its calls fail; it ends when its call does."""
    go = tmp_path / "go"
    executor = await asyncio.to_thread(interpreter)
    executor.attach(asyncio.get_running_loop(), bool)
    await until(lambda: "serve_calls_at" in executor.stack(), "it waits for calls")
    call = executor.submit(work.obey, b"wait %s" % bytes(go))
    await asyncio.to_thread(executor.shutdown, wait=False, cancel_futures=True)
    (lost,) = await results(call)
    assert "an interpreter has ended" in str(lost)
    assert executor.is_alive
    go.touch()
    executor.join(60)
    wait_until(lambda: not executor.is_alive, "it has ended")


def test_interpreter_that_fails_is_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its socket ends, and the log says why; so it is on a Python that has none."""

    def fail(name: str) -> Any:
        raise ImportError(f"no {name} here")

    monkeypatch.setattr(interpreter_executor.importlib, "import_module", fail)
    with caplog.at_level(logging.ERROR, "asyncrev"):
        executor = interpreter()
        lost = executor.submit(work.flip, b"a").exception(0)
        executor.shutdown()
    assert "has ended" in str(lost)
    assert "no concurrent.interpreters here" in caplog.text


@pytest.mark.skipif(HAS_INTERPRETERS, reason="this Python has interpreters")
def test_interpreters_are_refused_where_python_has_none() -> None:
    """With what to do instead."""
    with pytest.raises(SettingsError, match=r"new in 3\.14; use processes"):
        check_interpreters()
