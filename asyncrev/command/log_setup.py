"""The command's logging, which no processor's module can change or disable."""

import logging
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from asyncrev.command.log_output import BackgroundHandler, BackgroundStream, BackgroundWriter
from asyncrev.log_text import RecordFormatter

if TYPE_CHECKING:  # imported when the format is JSON
    from asyncrev.command.log_stderr import JsonStderr

__all__ = ["ProcessLog"]

# Our own, and asyncio's, which logs what processors raise.
OUR_LOGGERS = ("asyncrev", "asyncio")


class _NeverDisabled(logging.Logger):
    """A logger that neither logging.disable nor a configuration without its name disables.

    The latter may happen at any time, for instance in a processor's first call (`logging.config`,
    `disable_existing_loggers`).
    """

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 (the base's name)
        """Return whether `level` is logged, whatever logging.disable was called with."""
        return level >= self.getEffectiveLevel()

    def handle(self, record: logging.LogRecord) -> None:
        """Pass a record to the handlers, as the base class does, even while `disabled`."""
        passes: Any = self.filter(record)  # may be a replacement for the record since Python 3.12
        if passes:
            self.callHandlers(passes if isinstance(passes, logging.LogRecord) else record)


class ProcessLog:
    """Logs to a descriptor on a separate thread. Thread: main.

    The loggers `asyncrev` and `asyncio` get the level and the handler themselves and do not
    propagate, because a configured root logger would write each record again, in the loop's thread.
    The root logger gets both, too, unless it is configured. Other handlers keep their level and
    format; those that write to stderr do so through the same thread.

    In the format "json" each line is an object, and what is written to `sys.stderr` and what the
    interpreter reports there is logged, too.
    """

    def __init__(self, level: str, fd: int = 2, log_format: str = "text", worker: str = "") -> None:
        """Start to log at `level`, a name in upper or lower case, as "text" or "json".

        `worker`: the name of this process among several, which is in each line; "" for none.
        """
        self._stderr: JsonStderr | None = None
        self._end_hooks: Callable[[], None] = _nothing
        self._writer = BackgroundWriter(fd, formatter=_formatter(log_format, worker))
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
        stream: object = BackgroundStream(self._writer, fd)
        if log_format == "json":
            from asyncrev.command import log_stderr

            self._stderr = log_stderr.JsonStderr(self._writer, fd)
            self._end_hooks = log_stderr.logging_hooks()
            stream = self._stderr.stream
        for handler in _handlers_to_stderr():
            self._moved.append((handler, handler.stream))
            _exchange(handler, stream)
        if self._stderr is not None:
            self._stderr.take_over()

    def report_left_out(self) -> None:
        """Report how many lines were left out so far, rather than at the end of their second."""
        self._handler.report_all_left_out()

    def stop(self, timeout_s: float) -> bool:
        """Write the kept lines, for at most `timeout_s`; return whether all were written.

        If so, logging is restored to what it was. Otherwise it is not, because the interpreter's
        last messages would wait for stderr.
        """
        self.report_left_out()
        if not self._writer.stop(timeout_s):
            return False
        self._end_hooks()
        if self._stderr is not None:
            self._stderr.give_back()
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


def _formatter(log_format: str, worker: str) -> logging.Formatter:
    if log_format != "json":
        return RecordFormatter(f"worker {worker}: " if worker else "")
    from asyncrev.command.log_json import JsonFormatter

    return JsonFormatter(worker)


def _nothing() -> None:
    """Do nothing: there are no hooks."""


def _handlers_to_stderr() -> Iterator[logging.StreamHandler[Any]]:
    """Yield the handlers of all loggers that write to stderr."""
    root = logging.getLogger()
    for logger in (root, *root.manager.loggerDict.values()):
        if not isinstance(logger, logging.Logger):
            continue  # a placeholder for a logger that does not exist yet
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler) and (
                handler.stream is not None and handler.stream in (sys.stderr, sys.__stderr__)
            ):
                yield handler


def _exchange(handler: logging.StreamHandler[Any], stream: object) -> None:
    """Do what `setStream` does, without its flush, which raises if the disk is full."""
    handler.acquire()
    try:
        handler.stream = stream
    finally:
        handler.release()
