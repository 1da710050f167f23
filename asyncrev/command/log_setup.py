"""The command's logging, which no processor's module can change or disable."""

import logging
import sys
from collections.abc import Iterator
from typing import Any

from asyncrev.command.log_output import BackgroundHandler, BackgroundStream, BackgroundWriter

__all__ = ["ProcessLog"]

# Our own, and asyncio's, which logs what processors raise.
OUR_LOGGERS = ("asyncrev", "asyncio")


class _NeverDisabled(logging.Logger):
    """A logger that nothing disables: neither logging.disable nor a configuration without its name.

    The latter may come at any time, as in a processor's first call (`logging.config`,
    `disable_existing_loggers`).
    """

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 (the base's name)
        """Return whether `level` is logged; logging.disable has no say."""
        return level >= self.getEffectiveLevel()

    def handle(self, record: logging.LogRecord) -> None:
        """Hand on a record, as the base does, also while `disabled`."""
        passes: Any = self.filter(record)  # a record in place of this one, since Python 3.12
        if passes:
            self.callHandlers(passes if isinstance(passes, logging.LogRecord) else record)


class ProcessLog:
    """Logs to a descriptor on a thread of its own. Thread: main.

    The loggers `asyncrev` and `asyncio` get the level and the handler themselves, and pass nothing
    on: a root logger that is configured would write it once more, and in the loop's thread. The
    root logger gets both too unless it is configured. Other handlers keep their level and format;
    those that write to stderr do so through the same thread.
    """

    def __init__(self, level: str, fd: int = 2) -> None:
        """Start to log at `level`, a name in any case."""
        self._writer = BackgroundWriter(fd)
        self._handler = BackgroundHandler(self._writer)
        self._before: list[tuple[logging.Logger, int, bool, bool]] = []
        self._classes: list[tuple[logging.Logger, type[logging.Logger]]] = []
        self._moved: list[tuple[logging.StreamHandler[Any], Any]] = []
        root = logging.getLogger()
        for name in OUR_LOGGERS:
            logger = logging.getLogger(name)
            self._before.append((logger, logger.level, logger.propagate, logger.disabled))
            logger.propagate = False
            self._classes.append((logger, type(logger)))
            logger.__class__ = _NeverDisabled
            self._take(logger, level)
        if not root.handlers:
            self._before.append((root, root.level, root.propagate, root.disabled))
            self._take(root, level)
        stream = BackgroundStream(self._writer, fd)
        for handler in _handlers_to_stderr():
            self._moved.append((handler, handler.stream))
            _exchange(handler, stream)

    def stop(self, timeout_s: float) -> bool:
        """Write what is kept, for at most `timeout_s`; return whether that was all.

        Then logging is as it was. If stderr cannot be written to, it is not: the interpreter's
        last words would wait for it.
        """
        self._handler.report_all_left_out()
        if not self._writer.stop(timeout_s):
            return False
        for logger, level, propagate, disabled in self._before:
            logger.removeHandler(self._handler)
            logger.setLevel(level)
            logger.propagate, logger.disabled = propagate, disabled
        for logger, its_class in self._classes:
            logger.__class__ = its_class
        for handler, stream in self._moved:
            _exchange(handler, stream)
        return True

    def _take(self, logger: logging.Logger, level: str) -> None:
        logger.setLevel(level.upper())
        logger.addHandler(self._handler)


def _handlers_to_stderr() -> Iterator[logging.StreamHandler[Any]]:
    """Yield those handlers of all loggers that write to stderr."""
    root = logging.getLogger()
    for logger in (root, *root.manager.loggerDict.values()):
        if not isinstance(logger, logging.Logger):
            continue  # a place for one that is to come
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler) and (
                handler.stream is not None and handler.stream in (sys.stderr, sys.__stderr__)
            ):
                yield handler


def _exchange(handler: logging.StreamHandler[Any], stream: object) -> None:
    """Do what `setStream` does, but for its flush, which raises if the disk is full."""
    handler.acquire()
    try:
        handler.stream = stream
    finally:
        handler.release()
