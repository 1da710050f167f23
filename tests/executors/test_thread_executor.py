"""An executor that is one thread."""

import threading
from concurrent.futures import CancelledError
from typing import Any

import pytest

from asyncrev.executors.thread_executor import ThreadExecutor
from tests.executors import work
from tests.support import DEADLINE_S, wait_until


def test_calls_are_made_in_their_order() -> None:
    """An error is that of its call only."""
    executor = ThreadExecutor()
    calls = [executor.submit(work.flip, b"%d a" % number) for number in range(20)]
    wrong = executor.submit(int, "x")
    after = executor.submit(int, "7")
    assert [call.result(DEADLINE_S) for call in calls] == [b"%d A" % n for n in range(20)]
    assert "invalid literal" in str(wrong.exception(DEADLINE_S))
    assert after.result(DEADLINE_S) == 7
    executor.shutdown()
    assert not executor.is_alive
    assert executor.stack() == ""
    with pytest.raises(RuntimeError, match="shut down"):
        executor.submit(int, "7")


def test_thread_that_hangs_is_left_behind_and_its_stack_known() -> None:
    """Calls that wait behind are cancelled; it ends when its call does."""
    executor, go = ThreadExecutor(), threading.Event()
    hangs = executor.submit(wait_here, go)
    behind = executor.submit(int, "7")
    wait_until(lambda: "wait_here" in executor.stack(), "it hangs")
    executor.shutdown(wait=False, cancel_futures=True)
    assert isinstance(cancelled_by(behind), CancelledError)
    assert executor.is_alive
    assert executor._thread.daemon
    go.set()
    assert hangs.result(DEADLINE_S) == b"went on"
    wait_until(lambda: not executor.is_alive, "it has ended")


def wait_here(go: threading.Event) -> bytes:
    """Hang until the test goes on."""
    go.wait(DEADLINE_S)
    return b"went on"


def cancelled_by(call: Any) -> BaseException | None:
    """Return what a call raises that has a cancellation as its result."""
    try:
        call.result(DEADLINE_S)
    except CancelledError as error:
        return error
    return None
