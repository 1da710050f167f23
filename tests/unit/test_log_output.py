"""log_output: lines come out in order, and whoever logs never waits."""

import logging
import os
import threading
from collections.abc import Iterator

import pytest

from asyncrev.log_output import BackgroundHandler, Descriptor
from tests.support import wait_until


class Held(logging.Handler):
    """Keeps the lines, once it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.entered = threading.Event()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Wait, then keep."""
        self.entered.set()
        self.go.wait()
        self.lines.append(record.getMessage())


@pytest.fixture
def held() -> Iterator[Held]:
    """A target that is let go at the end at the latest."""
    target = Held()
    yield target
    target.go.set()


def logger_to(handler: logging.Handler) -> logging.Logger:
    """Return a logger of its own."""
    logger = logging.Logger("test")
    logger.addHandler(handler)
    return logger


def test_lines_come_out_in_order_and_stop_waits_for_them(held: Held) -> None:
    """Nothing that was kept is lost."""
    handler = BackgroundHandler(held)
    logger = logger_to(handler)
    for number in range(100):
        logger.warning("line %d", number)
    held.go.set()
    assert handler.stop(10.0)
    assert held.lines == [f"line {number}" for number in range(100)]


def test_target_that_is_stuck_holds_nobody_up_and_what_is_dropped_is_told(held: Held) -> None:
    """Its number comes with the next line that gets through."""
    handler = BackgroundHandler(held, most_records=2)
    logger = logger_to(handler)
    logger.warning("first")
    wait_until(held.entered.is_set, "the thread is stuck")
    for number in range(5):
        logger.warning("line %d", number)
    held.go.set()
    wait_until(lambda: len(held.lines) == 4, "it has caught up")
    assert held.lines[:2] == ["first", "3 log lines were dropped"]
    logger.warning("last")
    assert handler.stop(10.0)
    assert held.lines[2:] == ["line 0", "line 1", "last"]


def test_stop_of_a_stuck_target_gives_up_in_time(held: Held) -> None:
    """With room for the end mark, and without."""
    full, stuck = BackgroundHandler(held, most_records=1), BackgroundHandler(held)
    for handler in (full, stuck):
        held.entered.clear()
        logger_to(handler).warning("one")
        wait_until(held.entered.is_set, "the thread is stuck")
    logger_to(full).warning("two")
    assert not full.stop(0.01)
    assert not stuck.stop(0.01)
    held.go.set()
    assert full.stop(10.0)
    assert stuck.stop(10.0)


def test_what_is_dropped_last_is_told_at_the_end(held: Held) -> None:
    """Also if no line follows."""
    handler = BackgroundHandler(held, most_records=1)
    logger = logger_to(handler)
    logger.warning("first")
    wait_until(held.entered.is_set, "the thread is stuck")
    for _ in range(3):
        logger.warning("more")
    held.go.set()
    assert handler.stop(10.0)
    assert held.lines == ["first", "2 log lines were dropped", "more"]


def test_line_is_what_the_target_makes_of_it() -> None:
    """Level and message once, as configured; a traceback behind them."""
    reading, writing = os.pipe()
    target = logging.StreamHandler(Descriptor(writing))
    target.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    handler = BackgroundHandler(target)
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        logging.root.handlers.clear()
        logging.basicConfig(level="INFO", handlers=[handler])
        logging.getLogger("asyncrev").warning("%d of %d", 1, 2)
        try:
            raise ValueError("deliberate")
        except ValueError:
            logging.getLogger("asyncrev").exception("oops")
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
    assert handler.stop(10.0)
    os.close(writing)
    with open(reading) as output:
        lines = output.read().splitlines()
    assert lines[:3] == ["WARNING 1 of 2", "ERROR oops", "Traceback (most recent call last):"]
    assert lines[-1] == "ValueError: deliberate"


def test_descriptor_writes_all_of_a_text() -> None:
    """More than a pipe holds, and what UTF-8 cannot say."""
    reading, writing = os.pipe()
    text = "x" * 300_000 + "\udc80\n"
    found = bytearray()

    def read() -> None:
        while data := os.read(reading, 65536):
            found.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    stream = Descriptor(writing)
    stream.write(text)
    stream.flush()
    os.close(writing)
    reader.join()
    os.close(reading)
    assert found == b"x" * 300_000 + b"\\udc80\n"
