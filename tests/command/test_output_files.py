"""output_files: both files of a server, from its start to its end."""

import contextlib
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncrev.command import access_log
from asyncrev.command.output_files import OutputFiles
from asyncrev.errors import LocalError
from asyncrev.statistics import ClosedConnection
from tests.command.test_serving import options
from tests.support import wait_until

GONE = ClosedConnection(
    info=None, duration_s=1.0, received_bytes=2, replied_bytes=3, frames=None, end="closed by peer"
)


def open_files() -> list[str]:
    """Return the names of the files that this process has open."""
    names = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            names.append(str(path.readlink()))
    return names


def test_without_options_nothing_is_opened() -> None:
    """Neither a file nor a thread."""
    before = threading.active_count()
    outputs = OutputFiles()
    outputs.open(options())
    assert (outputs.tee, outputs.access_log) == (None, None)
    assert threading.active_count() == before
    outputs.close()


def test_plain_server_imports_nothing_of_it() -> None:
    """Nor of JSON: its start must not become slower."""
    code = (
        "import sys, asyncrev.command.cli, asyncrev.command.serving;"
        "print([m for m in sys.modules if m == 'json' or m.startswith("
        "('asyncrev.command.log_json', 'asyncrev.command.access', 'asyncrev.command.log_stderr'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_both_are_reopened_on_another_thread(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With one line in the log."""
    tee, log = tmp_path / "tee", tmp_path / "log"
    outputs = OutputFiles()
    outputs.open(options(tee=str(tee), access_log=str(log), log_format="json"))
    assert outputs.access_log is not None
    outputs.access_log.note_closed(GONE)
    wait_until(log.read_bytes, "it is written")
    log.rename(tmp_path / "log.1")
    tee.rename(tmp_path / "tee.1")
    with caplog.at_level(logging.INFO, "asyncrev"):
        outputs.reopen_soon("SIGHUP")
        wait_until(lambda: caplog.records, "it is reopened")
    wait_until(lambda: str(tmp_path / "log.1") not in open_files(), "the old file is closed")
    outputs.access_log.note_closed(GONE)
    outputs.close()
    for path in (log, tmp_path / "log.1"):
        assert json.loads(path.read_text())["end"] == "closed by peer"
    assert tee.exists()
    assert [one.getMessage() for one in caplog.records] == [
        f"SIGHUP: reopened --tee {str(tee)!r} and --access-log {str(log)!r}"
    ]


def test_thread_that_cannot_be_started_is_an_error_of_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the option, and leaves no file open."""

    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(access_log, "AccessLog", fail)
    outputs = OutputFiles()
    with pytest.raises(LocalError, match="the thread of --access-log: can't start new thread"):
        outputs.open(options(access_log=str(tmp_path / "log")))
    outputs.close()


def test_reopening_without_a_thread_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And the loop goes on."""

    def fail(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    OutputFiles().reopen_soon("SIGHUP")
    (found,) = caplog.records
    assert "nothing is reopened" in found.getMessage()


def test_reopening_happens_within_what_is_given(tmp_path: Path) -> None:
    """On its thread, so that who is told of a reload hears of its end."""
    outputs = OutputFiles()
    outputs.open(options(tee=str(tmp_path / "tee")))
    threads: list[str] = []

    @contextlib.contextmanager
    def during() -> Iterator[None]:
        threads.append(threading.current_thread().name)
        yield
        threads.append(threading.current_thread().name)

    outputs.reopen_soon("SIGHUP", during)
    wait_until(lambda: len(threads) == 2, "it is left")
    assert threads == ["asyncrev-reopen"] * 2
    outputs.close()
