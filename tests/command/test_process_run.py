"""process_run: what is around the loop of a process that serves."""

import logging
import threading
from typing import Any

import pytest

from asyncrev.command import process_run
from asyncrev.command.log_setup import ProcessLog
from asyncrev.command.process_run import run_process
from asyncrev.command.settings import ServeSettings
from asyncrev.command.signals import ProcessSignals
from asyncrev.errors import LocalError
from tests.command.test_serving import options


async def serve(settings: ServeSettings, signals: ProcessSignals, log: ProcessLog) -> int:
    """Say so, and end."""
    logging.getLogger("asyncrev").info("it serves")
    return 7


def test_log_whose_thread_cannot_be_started_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the first thread that the command starts."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "asyncrev-log":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(LocalError, match=r"the thread of the log: can't start new thread; see "):
        run_process(serve, options())


def test_what_serves_decides_the_code_and_each_line_has_the_worker(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run_process(serve, options(), warnings=["beware"], worker="2") == 7
    first, second = capfd.readouterr().err.splitlines()
    assert first.endswith("WARNING worker 2: beware")
    assert second.endswith("INFO worker 2: it serves")


def test_core_and_descriptors_are_set_before_the_loop_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Threads that start later inherit the core."""
    done: list[Any] = []
    monkeypatch.setattr(process_run, "pin_to", lambda cpu: done.append(("core", cpu)))
    monkeypatch.setattr(
        process_run, "raise_descriptor_limit", lambda number: done.append(("files", number))
    )

    async def note(settings: ServeSettings, signals: ProcessSignals, log: ProcessLog) -> int:
        done.append("served")
        return 0

    assert run_process(note, options(cpu=3), more_descriptors=10) == 0
    most = options().limits.max_connections + 10
    assert done == [("files", most), ("core", 3), "served"]


def test_error_of_what_serves_is_raised_and_the_log_is_written(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def fail(settings: ServeSettings, signals: ProcessSignals, log: ProcessLog) -> int:
        logging.getLogger("asyncrev").error("the reason")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run_process(fail, options())
    assert "the reason" in capfd.readouterr().err
