"""log_stderr: what is written to sys.stderr past the log becomes a record, too."""

import gc
import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from asyncrev.command import log_stderr
from asyncrev.command.log_json import JsonFormatter
from asyncrev.command.log_output import BackgroundWriter
from asyncrev.command.log_setup import ProcessLog
from asyncrev.command.log_stderr import MOST_WRITE_BYTES, JsonStderr


def records_of(act: Callable[[JsonStderr], object]) -> list[dict[str, Any]]:
    """Return the records of what `act` writes while `sys.stderr` is taken over."""
    reading, writing = os.pipe()
    writer = BackgroundWriter(writing, formatter=JsonFormatter())
    stderr = JsonStderr(writer, writing)
    stderr.take_over()
    try:
        act(stderr)
    finally:
        assert writer.stop(10.0)
        stderr.give_back()
    os.close(writing)
    with open(reading, encoding="utf-8", errors="strict") as output:
        return [json.loads(line) for line in output]


def messages_of(act: Callable[[JsonStderr], object]) -> list[str]:
    return [one["message"] for one in records_of(act)]


def test_print_is_a_record_without_a_level() -> None:
    """Only the text is known of it."""
    (found,) = records_of(lambda _: print("two", "words", file=sys.stderr))
    assert found["message"] == "two words"
    assert (found["level"], found["logger"]) == ("NOTSET", "stderr")


def test_lines_that_are_written_at_once_are_one_record() -> None:
    """A handler's record with its traceback, and a warning with the line that caused it."""
    (text,) = messages_of(lambda _: sys.stderr.write("x\n  y\nz\n"))
    assert text == "x\n  y\nz"


def test_line_without_an_end_waits_for_it() -> None:
    """And comes at the end of the log in any case; empty ones are none."""

    def write(_: object) -> None:
        for piece in ("a", "b", "\n", "\n", "", "c"):
            sys.stderr.write(piece)

    assert messages_of(write) == ["ab", "c"]


def test_any_bytes_become_valid_lines() -> None:
    """Escaped as in the text log."""
    (text,) = messages_of(lambda _: sys.stderr.buffer.write(b"\xff\x1b[31m\0\n"))
    assert text == r"\xff\x1b[31m\x00"


def test_endless_line_is_cut() -> None:
    """Nothing keeps more than the most of one message."""
    found = messages_of(lambda _: sys.stderr.write("x" * (3 * MOST_WRITE_BYTES)))
    assert len(found) == 3


def test_it_is_no_terminal_but_has_its_descriptor() -> None:
    """For colours, and for children that shall inherit it."""

    def look(stderr: JsonStderr) -> None:
        assert not stderr.stream.isatty()
        assert os.fstat(stderr.stream.fileno())

    assert messages_of(look) == []


def test_who_keeps_the_stream_writes_to_the_descriptor_afterwards(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A handler that a processor made, in atexit."""
    log = ProcessLog("info", log_format="json")
    kept = sys.stderr
    assert log.stop(10.0)
    assert sys.stderr is not kept
    kept.write("late\n")
    assert json.loads(capfd.readouterr().err)["message"] == "late"


def logged_by(act: Callable[[], None]) -> list[dict[str, Any]]:
    """Return what a log in JSON has of `act`."""
    reading, writing = os.pipe()
    before = (threading.excepthook, sys.unraisablehook)
    threading.excepthook, sys.unraisablehook = threading.__excepthook__, sys.__unraisablehook__
    try:
        log = ProcessLog("info", writing, "json")
        act()
        assert log.stop(10.0)
        assert threading.excepthook is threading.__excepthook__
        assert sys.unraisablehook is sys.__unraisablehook__
    finally:
        threading.excepthook, sys.unraisablehook = before
    os.close(writing)
    with open(reading, encoding="utf-8") as output:
        return [json.loads(line) for line in output]


def test_last_words_without_a_line_end_are_logged() -> None:
    """They are a record at the end of the log."""
    (found,) = logged_by(lambda: print("last", end="", file=sys.stderr))
    assert found["message"] == "last"


def test_exception_of_a_thread_is_one_record() -> None:
    """The interpreter would print it line by line."""

    def fail() -> None:
        raise ValueError("deliberate")

    def run() -> None:
        for target in (fail, sys.exit):
            thread = threading.Thread(target=target, name="users")
            thread.start()
            thread.join()

    (found,) = logged_by(run)
    assert found["message"] == "exception in thread users"
    assert found["level"] == "ERROR"
    assert found["traceback"].endswith("ValueError: deliberate")


def test_exception_of_a_finaliser_is_one_record() -> None:
    """So is what else the interpreter calls unraisable."""

    class Bad:
        def __del__(self) -> None:
            raise ValueError("deliberate")

    def run() -> None:
        Bad()
        gc.collect()

    (found,) = logged_by(run)
    assert "__del__" in found["message"]
    assert found["traceback"].endswith("ValueError: deliberate")


def test_hooks_of_a_program_stay() -> None:
    """A crash reporter's, for instance."""
    ours: Any = lambda _: None  # noqa: E731
    before = (threading.excepthook, sys.unraisablehook)
    threading.excepthook = sys.unraisablehook = ours
    try:
        end = log_stderr.logging_hooks()
        assert threading.excepthook is sys.unraisablehook is ours
        end()
        assert threading.excepthook is ours
    finally:
        threading.excepthook, sys.unraisablehook = before


def test_handlers_to_stderr_come_as_records() -> None:
    """Another library's handler keeps its format; the text is the message."""
    root = logging.getLogger()
    before = root.handlers[:]
    handler = logging.StreamHandler(sys.__stderr__)
    handler.setFormatter(logging.Formatter("mine: %(message)s"))
    root.handlers[:] = [handler]
    try:
        (found,) = logged_by(lambda: logging.getLogger("users").warning("a\nb"))
    finally:
        root.handlers[:] = before
    assert found["message"] == "mine: a\nb"
    assert handler.stream is sys.__stderr__
