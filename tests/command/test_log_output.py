"""log_output: lines come out whole and in order, nobody waits, and nothing is lost uncounted."""

import fcntl
import gc
import logging
import os
import re
import select
import socket
import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from asyncrev.command.log_output import (
    LINE_OVERHEAD_BYTES,
    MOST_TEXT_CHARACTERS,
    BackgroundHandler,
    BackgroundStream,
    BackgroundWriter,
)
from asyncrev.log_text import MOST_CHARACTERS
from tests.support import wait_until


class Pipe:
    """A pipe for a writer; what was read of it, and what is in it."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, 1 << 19)  # nobody reads it meanwhile
        self.got = b""
        self.is_open = True

    def fill(self) -> None:
        """Leave no room in it."""
        os.set_blocking(self.writing, False)
        try:
            while True:
                os.write(self.writing, b"\0" * 4096)
        except BlockingIOError:
            os.set_blocking(self.writing, True)

    def read(self) -> bytes:
        """Return all that was in it ever, but for the filling, without waiting."""
        os.set_blocking(self.reading, False)
        try:
            while data := os.read(self.reading, 1 << 20):
                self.got += data.replace(b"\0", b"")
        except BlockingIOError:
            pass
        return self.got

    def lines(self) -> list[str]:
        """Return the text of each record read so far: without time and level."""
        return [line.split(" ", 3)[-1] for line in self.read().decode().splitlines()]

    def close_reading(self) -> None:
        """Leave it without a reader."""
        if self.is_open:
            os.close(self.reading)
        self.is_open = False


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Emptied and closed at the end, so that no thread is stuck in a write."""
    made = Pipe()
    yield made
    made.close_reading()
    wait_until(
        lambda: not any(t.name == "asyncrev-log" for t in threading.enumerate()), "threads end"
    )
    os.close(made.writing)


def logger_to(writer: BackgroundWriter, name: str = "users") -> logging.Logger:
    """Return a logger of its own; one named "users" has no limit."""
    logger = logging.Logger(name)
    logger.addHandler(BackgroundHandler(writer))
    return logger


def stuck(pipe: Pipe, **limits: int) -> BackgroundWriter:
    """Return a writer whose thread waits in its first write."""
    pipe.fill()
    writer = BackgroundWriter(pipe.writing, **limits)
    writer.put(b"- - - first\n")
    wait_until(writer._lines.empty, "the thread has taken it")
    return writer


# -- a queue that is bounded -------------------------------------------------------------------


def test_lines_come_out_in_order_and_stop_waits_for_them(pipe: Pipe) -> None:
    """Nothing that was kept is lost."""
    writer = BackgroundWriter(pipe.writing)
    logger = logger_to(writer)
    for number in range(100):
        logger.warning("line %d", number)
    assert writer.stop(10.0)
    assert pipe.lines() == [f"line {number}" for number in range(100)]


def test_reader_that_is_stuck_holds_nobody_up_and_what_is_dropped_is_told(pipe: Pipe) -> None:
    """Its number comes with the next line that gets through."""
    writer = stuck(pipe, most_lines=3)
    logger = logger_to(writer)
    for number in range(5):
        logger.warning("line %d", number)
    wait_until(lambda: len(pipe.lines()) == 4, "it has caught up")
    told = "3 log lines were dropped: they were not read in time"
    assert pipe.lines() == ["first", told, "line 0", "line 1"]
    logger.warning("last")
    assert writer.stop(10.0)
    assert pipe.lines()[4:] == ["last"]


def test_what_is_kept_is_bounded_by_bytes(pipe: Pipe) -> None:
    """Long lines are fewer; those that do not fit any more are counted."""
    most_bytes = 100_000
    writer = stuck(pipe, most_bytes=most_bytes)
    logger = logger_to(writer)
    for _ in range(200):
        logger.warning("x" * 2_000)
    kept = writer._lines.qsize()
    assert (most_bytes - 4_000) / 2_100 < kept < most_bytes / (2_000 + LINE_OVERHEAD_BYTES)
    wait_until(lambda: len(pipe.lines()) == kept + 2, "it has caught up")
    assert writer.stop(10.0)
    assert f"{200 - kept} log lines were dropped" in pipe.lines()[1]


def test_kept_line_holds_nothing_but_its_text(pipe: Pipe) -> None:
    """A record would keep its arguments, its exception and all that their frames name."""

    class Argument(Exception):
        """Something large."""

    writer = stuck(pipe)
    logger = logger_to(writer)

    def log() -> list["weakref.ref[object]"]:
        argument, local = Argument(), Argument()
        try:
            raise Argument(local)
        except Argument as error:
            logger.exception("%s", argument)
            return [weakref.ref(thing) for thing in (argument, local, error)]

    found = log()
    gc.collect()
    assert [thing() for thing in found] == [None] * 3
    assert writer._lines.qsize() == 1
    pipe.read()
    assert writer.stop(10.0)


def test_long_record_is_shortened(pipe: Pipe) -> None:
    """Its exception, too."""
    writer = BackgroundWriter(pipe.writing)
    try:
        raise ValueError("z" * 10_000_000)
    except ValueError:
        logger_to(writer).exception("oops")
    assert writer.stop(10.0)
    assert len(pipe.read()) < MOST_CHARACTERS + 200
    assert re.search(
        rb" ERROR oops\n {4}Traceback .* ValueError: z+ \.\.\. 99\d{5} more", pipe.got, re.S
    )


def test_line_may_come_from_a_finaliser_within_a_line(pipe: Pipe) -> None:
    """As asyncio's do: a lock that cannot be taken again would hang the thread for good."""
    writer = BackgroundWriter(pipe.writing)
    logger = logger_to(writer, "asyncrev")

    class Last:
        def __str__(self) -> str:
            logger.warning("within")
            return "outer"

    logger.warning("%s", Last())
    with writer._lock:
        logger.warning("within the lock")
    assert writer.stop(10.0)
    assert pipe.lines() == ["within", "outer", "within the lock"]


def test_record_that_takes_long_to_format_holds_no_other_thread_up(pipe: Pipe) -> None:
    """A worker's traceback is no business of the loop's."""
    writer = BackgroundWriter(pipe.writing)
    logger = logger_to(writer, "asyncrev")
    begun, go_on = threading.Event(), threading.Event()

    class Slow:
        def __str__(self) -> str:
            begun.set()
            go_on.wait(10.0)
            return "slow"

    thread = threading.Thread(target=logger.warning, args=("%s", Slow()))
    thread.start()
    assert begun.wait(10.0)
    logger.warning("quick")
    wait_until(lambda: pipe.lines() == ["quick"], "it is written")
    go_on.set()
    thread.join()
    assert writer.stop(10.0)
    assert pipe.lines() == ["quick", "slow"]


def test_filter_of_the_handler_may_drop_a_record(pipe: Pipe) -> None:
    """As with any handler."""
    writer = BackgroundWriter(pipe.writing)
    logger = logger_to(writer)
    logger.handlers[0].addFilter(lambda record: record.msg != "drop")
    for text in ("keep", "drop", "keep too"):
        logger.warning(text)
    assert writer.stop(10.0)
    assert pipe.lines() == ["keep", "keep too"]


def test_record_that_cannot_be_formatted_is_told(
    pipe: Pipe, capsys: pytest.CaptureFixture[str]
) -> None:
    """logging would write a traceback to stderr, in the thread that logs."""
    writer = BackgroundWriter(pipe.writing)
    logger_to(writer).warning("%d and %d", 1)
    assert writer.stop(10.0)
    (line,) = pipe.lines()
    assert line.startswith("a record cannot be formatted, TypeError(")
    assert line.endswith("'%d and %d'")
    assert capsys.readouterr().err == ""


def test_stop_of_a_stuck_writer_gives_up_in_time(pipe: Pipe) -> None:
    """And ends when it can."""
    writer = stuck(pipe)
    assert not writer.stop(0.01)
    wait_until(lambda: "first" in pipe.lines(), "it goes on")
    assert writer.stop(10.0)


def test_what_is_dropped_last_is_told_at_the_end(pipe: Pipe) -> None:
    """Also if no line follows."""
    writer = stuck(pipe, most_lines=1)
    for _ in range(3):
        writer.put(b"more\n")
    wait_until(lambda: pipe.lines(), "it goes on")
    assert writer.stop(10.0)
    assert pipe.lines() == ["first", "3 log lines were dropped: they were not read in time"]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of fork with threads
def test_forked_child_writes_its_lines_itself(pipe: Pipe) -> None:
    """It has no thread that would."""
    writer = BackgroundWriter(pipe.writing)
    logger = logger_to(writer)
    child = os.fork()
    if child == 0:
        logger.warning("of the child")
        os._exit(0)
    assert os.waitpid(child, 0) == (child, 0)
    assert writer.stop(10.0)
    assert pipe.lines() == ["of the child"]


# -- descriptors that cannot be written to -----------------------------------------------------


def test_lines_that_a_full_disk_refuses_are_counted_and_told(pipe: Pipe) -> None:
    """With the reason, as soon as writing works again."""
    with open("/dev/full", "wb") as full:
        target = os.dup(full.fileno())
        writer = BackgroundWriter(target)
        for _ in range(5):
            writer.put(b"lost\n")
        wait_until(lambda: writer._unwritten == 5, "all were tried")
        os.dup2(pipe.writing, target)
        writer.put(b"- - - works\n")
        assert writer.stop(10.0)
        os.close(target)
    assert pipe.lines() == [
        "5 log lines could not be written: [Errno 28] No space left on device", "works"
    ]  # fmt: skip


def test_line_of_which_a_part_was_written_is_ended_before_the_next(pipe: Pipe) -> None:
    """Or the next record would not begin a line."""
    left, right = socket.socketpair()
    with left, right:
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        writer = BackgroundWriter(left.fileno())
        writer.put(b"x" * 1_000_000 + b"\n")
        got = right.recv(4096)
        target = os.dup(left.fileno())
        right.close()  # the rest of that line is refused
        wait_until(lambda: writer._unwritten == 1, "it was refused")
        os.dup2(pipe.writing, left.fileno())
        writer.put(b"- - - works\n")
        assert writer.stop(10.0)
        os.close(target)
    assert set(got) == {ord("x")}
    assert pipe.read().startswith(b"\n")
    assert pipe.lines()[1:] == ["1 log lines could not be written: [Errno 32] Broken pipe", "works"]


def test_nobody_who_reads_is_no_error(pipe: Pipe) -> None:
    """EPIPE at each line, and the thread lives on."""
    writer = BackgroundWriter(pipe.writing)
    pipe.close_reading()
    for _ in range(3):
        writer.put(b"lost\n")
    wait_until(lambda: writer._unwritten == 3, "all were tried")
    assert writer.stop(10.0)


def test_non_blocking_descriptor_is_waited_for_without_spinning(pipe: Pipe) -> None:
    """It stays non-blocking, since others may share it; no line is lost."""
    os.set_blocking(pipe.writing, False)
    writer = BackgroundWriter(pipe.writing)
    text = b"y" * 1_000_000 + b"\n"
    writer.put(text)
    wait_until(lambda: _wchan_is_poll(writer), "it waits in poll")
    used_s = time.process_time()
    select.select([], [], [], 0.2)
    assert time.process_time() - used_s < 0.1
    writer.put(b"- - - last\n")
    wait_until(lambda: pipe.read().endswith(b"last\n"), "all is written")
    assert pipe.got == text + b"- - - last\n"
    assert not os.get_blocking(pipe.writing)
    assert writer.stop(10.0)


def _wchan_is_poll(writer: BackgroundWriter) -> bool:
    """Return whether the thread sleeps while it has something to write."""
    path = f"/proc/self/task/{writer._thread.native_id}/stat"
    with open(path, encoding="ascii", errors="replace") as stat:
        return writer._within_line and stat.read().rpartition(")")[2].split()[0] == "S"


# -- the number of lines -----------------------------------------------------------------------


def test_lines_of_one_reason_are_limited_and_the_rest_is_told_without_another_line(
    pipe: Pipe,
) -> None:
    """Also if nothing is logged afterwards: the thread wakes up for it."""
    writer = BackgroundWriter(pipe.writing)
    logger = logger_to(writer, "asyncrev")
    for number in range(50):
        logger.warning("%s: limited", number)
    logger.info("%s: limited", "another level")
    wait_until(lambda: len(pipe.lines()) == 12, "the rest is told")
    assert pipe.lines()[:11] == [f"{n}: limited" for n in range(10)] + ["another level: limited"]
    assert pipe.lines()[11] == "40 more lines like this were left out within 1 s: %s: limited"
    assert b" WARNING 40 more" in pipe.got
    assert writer.stop(10.0)


def test_reason_is_the_records_own_or_the_first_line_of_its_message(pipe: Pipe) -> None:
    """Not what its arguments make of it, which a peer may vary."""
    writer = BackgroundWriter(pipe.writing)
    logger = logger_to(writer, "asyncio")
    for number in range(12):
        logger.error(f"Task exception\n of {number}")  # as asyncio does
        logger.error("%s: closed", number, extra={"reason": "closed: late"})
        logger.error("%s: closed", number, extra={"reason": "closed: large\x1b"})
    wait_until(lambda: pipe.read().count(b"more lines like") == 3, "all are told")
    told = [line for line in pipe.lines() if "more lines like this" in line]
    assert sorted(line.partition("1 s: ")[2] for line in told) == [
        "Task exception", r"closed: large\x1b", "closed: late"
    ]  # fmt: skip
    assert {line.split()[0] for line in told} == {"2"}
    assert writer.stop(10.0)


def test_debug_and_other_loggers_have_no_limit(pipe: Pipe) -> None:
    """Who asks for debug wants all; a processor's lines are its own affair."""
    writer = BackgroundWriter(pipe.writing)
    for _ in range(30):
        logger_to(writer, "asyncrev").debug("x")
        logger_to(writer, "users").error("x")
    assert writer.stop(10.0)
    assert len(pipe.lines()) == 60


# -- handlers of somebody else -----------------------------------------------------------------


def test_stream_keeps_text_as_it_was_formatted(pipe: Pipe) -> None:
    """For a StreamHandler with a format of its own, and long texts are shortened."""
    writer = BackgroundWriter(pipe.writing)
    stream = BackgroundStream(writer, pipe.writing)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("\x1b[1m%(message)s\x1b[0m"))
    logger = logging.Logger("users")
    logger.addHandler(handler)
    logger.warning("bold \udc80")
    assert not stream.isatty()
    stream.write("w" * (MOST_TEXT_CHARACTERS + 7))
    assert writer.stop(10.0)
    assert pipe.read().startswith(b"\x1b[1mbold \\udc80\x1b[0m\nwww")
    assert b" ... 7 more characters ... " in pipe.got
