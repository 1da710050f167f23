"""log_setup: what the command logs is told as promised, whatever was done to logging before."""

import logging
import logging.config
import os
import sys
from collections.abc import Callable, Iterator

import pytest

from asyncrev.command.log_setup import ProcessLog

NAMES = ("", "asyncrev", "asyncio", "users", "users.part")


@pytest.fixture(autouse=True)
def plain_logging() -> Iterator[None]:
    """Loggers as in a new process, and afterwards as they were."""
    loggers = [logging.getLogger(name) for name in NAMES]
    before = [(lg, lg.handlers[:], lg.level, lg.propagate, lg.disabled) for lg in loggers]
    for logger in loggers:
        logger.handlers.clear()
        logger.setLevel(logging.WARNING if logger is logging.root else logging.NOTSET)
    yield
    for logger, handlers, level, propagate, disabled in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate, logger.disabled = propagate, disabled


def lines_of(
    level: str, act: Callable[[], None], configure: Callable[[], object] = int
) -> list[str]:
    """Return what is written, without the times, while `act` logs; `configure` came before."""
    logging.getLogger().handlers.clear()  # pytest's
    configure()
    reading, writing = os.pipe()
    log = ProcessLog(level, writing)
    act()
    assert log.stop(10.0)
    os.close(writing)
    with open(reading) as output:
        return [line[24:] if line[:4].isdigit() else line for line in output.read().splitlines()]


def log_of_all() -> None:
    """Log at each level of interest to each logger."""
    for name in NAMES[1:]:
        for level in (logging.DEBUG, logging.INFO, logging.ERROR):
            logging.getLogger(name).log(level, "%s", name)


EVERYBODY = [
    "INFO asyncrev", "ERROR asyncrev", "INFO asyncio", "ERROR asyncio",
    "INFO users", "ERROR users", "INFO users.part", "ERROR users.part",
]  # fmt: skip
OURS = EVERYBODY[:4]


def test_nobody_configured_logging() -> None:
    """Everything comes at the level and in the format of the command, once."""
    assert lines_of("info", log_of_all) == EVERYBODY
    assert lines_of("error", log_of_all) == EVERYBODY[1::2]


def test_logging_is_afterwards_as_it_was() -> None:
    """For programs that go on."""
    logging.getLogger("asyncrev").setLevel(logging.CRITICAL)
    lines_of("debug", log_of_all)
    for name in NAMES:
        assert logging.getLogger(name).handlers == []
        assert logging.getLogger(name).propagate
    assert logging.getLogger("asyncrev").level == logging.CRITICAL
    assert logging.getLogger("asyncio").level == logging.NOTSET
    assert logging.getLogger().level == logging.WARNING


def implicitly() -> None:
    """Call a function of `logging`, which configures the root logger."""
    logging.warning("loaded")


def by_basic_config() -> None:
    """Configure the root logger."""
    logging.basicConfig(level=logging.ERROR, format="mine: %(message)s")


def by_dict() -> None:
    """Disable every logger that exists, and configure the root logger."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": True,
            "formatters": {"mine": {"format": "mine: %(message)s"}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "mine"}},
            "root": {"level": "ERROR", "handlers": ["stderr"]},
        }
    )


@pytest.mark.parametrize("configure", [implicitly, by_basic_config, by_dict])
def test_module_that_configured_logging_changes_nothing_about_ours(
    configure: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Level, format and thread are the command's, and each line comes once.

    The module's own loggers are as it configured them; only, what they write to stderr is written
    by the same thread.
    """
    lines = lines_of("info", log_of_all, configure)
    theirs = [line for line in lines if line not in OURS]
    assert [line for line in lines if line in OURS] == OURS
    if configure is implicitly:
        assert theirs == ["ERROR:users:users", "ERROR:users.part:users.part"]
    elif configure is by_basic_config:
        assert theirs == ["mine: users", "mine: users.part"]
    else:
        assert theirs == []  # they existed, so they are disabled, as was asked for
    said = capsys.readouterr().err
    assert said == ("WARNING:root:loaded\n" if configure is implicitly else "")
    (handler,) = logging.getLogger().handlers
    assert handler.stream is sys.stderr


def test_what_was_left_out_in_the_last_second_is_told_at_the_end() -> None:
    """Nobody waits until it is over."""

    def repeat() -> None:
        for number in range(25):
            logging.getLogger("asyncrev").warning("%d: shortened", number)

    lines = lines_of("info", repeat)
    assert lines[:10] == [f"WARNING {number}: shortened" for number in range(10)]
    assert lines[10:] == ["WARNING 15 more lines like this were left out within 1 s: %d: shortened"]


def test_handler_to_elsewhere_is_left_alone(tmp_path: object) -> None:
    """A file of the module's is no stderr."""
    path = f"{tmp_path}/log"

    def to_a_file() -> None:
        logging.basicConfig(level=logging.ERROR, filename=path, format="%(message)s")

    assert lines_of("info", log_of_all, to_a_file) == OURS
    logging.getLogger().handlers[0].close()
    with open(path) as written:
        assert written.read() == "users\nusers.part\n"


def test_handler_without_a_stream_is_none_to_a_closed_stderr(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is opened at its first line has none yet, and stderr may be None."""
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "__stderr__", None)
    path = f"{tmp_path}/log"

    def later() -> None:
        handler = logging.FileHandler(path, delay=True)
        logging.getLogger().addHandler(handler)

    assert lines_of("error", log_of_all, later) == OURS[1::2]
    logging.getLogger().handlers[0].close()
    with open(path) as written:
        assert written.read() == "users\nusers.part\n"


def test_handler_of_a_named_logger_to_stderr_is_moved_too() -> None:
    """Wherever it is, it would write in the thread that logs."""

    def named() -> None:
        logging.getLogger("users").addHandler(logging.StreamHandler(sys.stderr))
        logging.getLogger("users").propagate = False

    assert lines_of("warning", log_of_all, named) == [
        "ERROR asyncrev", "ERROR asyncio", "users", "users.part"
    ]  # fmt: skip


def test_stuck_stderr_keeps_the_log_in_place() -> None:
    """What is logged later must not wait for it in another way."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"\0" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    log = ProcessLog("info", writing)
    logging.getLogger("asyncrev").error("one")
    assert not log.stop(0.01)
    logging.getLogger("asyncrev").error("two")
    assert logging.getLogger("asyncrev").handlers
    os.read(reading, 1 << 20)
    assert log.stop(10.0)
    os.close(reading)
    os.close(writing)
