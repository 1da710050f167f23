"""Threads that hang: each is logged and counted, and not too many are left behind."""

import logging
import threading

import pytest

from asyncrev.executors import hung_threads
from asyncrev.executors.hung_threads import HungThreads
from asyncrev.executors.thread_executor import ThreadExecutor
from tests.executors.test_thread_executor import wait_here
from tests.support import wait_until


def test_hung_threads_are_logged_with_their_stack_and_counted_until_they_return(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Up to a bound."""
    monkeypatch.setattr(hung_threads, "MOST_HUNG_THREADS", 2)
    hung, go = HungThreads(), threading.Event()
    with caplog.at_level(logging.ERROR, "asyncrev"):
        for _ in range(2):
            assert not hung.are_too_many
            executor = ThreadExecutor()
            executor.submit(wait_here, go)
            wait_until(lambda executor=executor: "wait_here" in executor.stack(), "it hangs")
            executor.shutdown(wait=False)
            hung.add(executor)
        assert (hung.count, hung.are_too_many) == (2, True)
        hung.log_end()
    texts = [record.getMessage() for record in caplog.records]
    assert all("go.wait(DEADLINE_S)" in text for text in texts[:2])
    assert "2 of at most 2 hang now" in texts[1]
    assert "still hang: 2" in texts[2]
    assert {record.reason for record in caplog.records} == {"executor: hung"}  # type: ignore[attr-defined]
    go.set()
    wait_until(lambda: hung.count == 0, "they have returned")
    assert not hung.are_too_many
    caplog.clear()
    hung.log_end()
    assert not caplog.records
