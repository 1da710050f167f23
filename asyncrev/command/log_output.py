"""Logging that never blocks, so that a full stderr pipe cannot stop the server's loop."""

import logging
import math
import os
import queue
import select
import threading
import time
from collections.abc import Callable
from typing import Any

from asyncrev.command.log_limit import WINDOW_S, LineLimit
from asyncrev.log_text import RecordFormatter, printable, shorten_to

__all__ = ["BackgroundHandler", "BackgroundStream", "BackgroundWriter"]

# The most that waits for the thread. A line of text has at most four times `MOST_CHARACTERS` bytes,
# one of JSON about five times as much.
MOST_LINES = 10_000
MOST_BYTES = 4 << 20
LINE_OVERHEAD_BYTES = 64  # of the object, and of its place in the queue

RETRY_S = 0.05  # when a write blocks although poll(2) reports the descriptor as writable
MOST_TEXT_CHARACTERS = 64 * 1024  # per write of another library's handler

# Loggers with lines that peers can cause. They are limited; a processor's own loggers are not.
LIMITED = frozenset({"asyncrev", "asyncio"})


class BackgroundWriter:
    """Writes lines to a descriptor on its own thread; counts those it cannot keep or write.

    A pipe of 64 KiB without a reader is full after 450 lines, and then a write to it blocks. A full
    disk refuses each line. Both are reported once writing works again.

    Attributes:
        formatter: of the lines by the log about itself, and of the handler's.
    """

    def __init__(
        self,
        fd: int,
        *,
        formatter: logging.Formatter | None = None,
        most_lines: int = MOST_LINES,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """Start the thread. The caller owns `fd` and closes it after `stop`."""
        self.formatter = RecordFormatter() if formatter is None else formatter
        self._fd = fd
        self._most_lines = most_lines
        self._most_bytes = most_bytes
        # A SimpleQueue, whose put is reentrant: a finaliser may log during it.
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._lock = threading.RLock()  # for the same reason
        self._kept_lines = 0  # guarded by _lock, as are the next two
        self._kept_bytes = 0
        self._dropped = 0
        self._unwritten = 0  # thread: log, as of the next two
        self._why = ""
        self._within_line = False
        self._idle: Callable[[], float | None] = _nothing_due
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="asyncrev-log", daemon=True)
        self._thread.start()

    def note(self, text: str, level: int = logging.WARNING, **fields: object) -> bytes:
        """Return a line by the log about itself; `fields` are for JSON. Thread: any."""
        record = logging.LogRecord("asyncrev", level, __file__, 0, text, None, None)
        record.fields = fields
        return self.formatter.format(record).encode() + b"\n"

    def when_idle(self, call: Callable[[], float | None]) -> None:
        """Call `call` on the thread after each line; it returns the seconds until the next call."""
        self._idle = call

    def put(self, line: bytes) -> None:
        """Keep `line` for the thread, or count it as dropped. Thread: any; never waits."""
        if os.getpid() != self._pid:  # a forked child does not have the thread
            self._write(line)
            return
        size_bytes = len(line) + LINE_OVERHEAD_BYTES
        with self._lock:
            if (
                self._kept_lines >= self._most_lines
                or self._kept_bytes + size_bytes > self._most_bytes
            ):
                self._dropped += 1
                return
            self._kept_lines += 1
            self._kept_bytes += size_bytes
            self._lines.put(line)

    def wake(self) -> None:
        """Make the thread call the function passed to `when_idle`. Thread: any; never waits."""
        self._lines.put(b"")

    def stop(self, timeout_s: float) -> bool:
        """Write the kept lines, for at most `timeout_s`; return whether all were written."""
        self._lines.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        due_s: float | None = None
        while True:
            try:
                line = self._lines.get(timeout=due_s)
            except queue.Empty:
                line = b""
            if line is None:
                break
            if line:
                self._write(line)
                with self._lock:
                    self._kept_lines -= 1
                    self._kept_bytes -= len(line) + LINE_OVERHEAD_BYTES
            self._report_dropped()
            due_s = self._idle()
        self._report_dropped()

    def _report_dropped(self) -> None:
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            text = f"{dropped} log lines were dropped: they were not read in time"
            self._write(self.note(text, dropped=dropped))

    def _write(self, line: bytes) -> None:
        """Write a line, preceded by the number of lines that could not be written; or count it."""
        if self._unwritten:
            text = f"{self._unwritten} log lines could not be written: {self._why}"
            report = self.note(text, unwritten=self._unwritten)
            if not self._try_to_write(report):
                self._unwritten += 1
                return
            self._unwritten = 0
        if not self._try_to_write(line):
            self._unwritten += 1

    def _try_to_write(self, line: bytes) -> bool:
        data = b"\n" + line if self._within_line else line
        try:
            self._write_all(data)
        except OSError as error:
            self._why = str(error)
            return False
        self._within_line = False
        return True

    def _write_all(self, data: bytes) -> None:
        """Write to the descriptor, however long that takes, even if it is non-blocking.

        Blocking or not is a property of the open file, which other processes may share (open(2)),
        so it is not changed.
        """
        waited = False
        while data:
            try:
                written_bytes = os.write(self._fd, data)
            except BlockingIOError:
                if waited:
                    time.sleep(RETRY_S)
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()
                waited = True
                continue
            waited = False
            data = data[written_bytes:]
            self._within_line = bool(data)


class BackgroundHandler(logging.Handler):
    """Passes records to a `BackgroundWriter` as text: a record would keep its arguments alive.

    At most ten lines per second are written for each reason; then one line reports how many were
    left out. The reason is the record's attribute `reason`, or else the first line of its message
    before the arguments are inserted.
    """

    def __init__(
        self, writer: BackgroundWriter, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Write to `writer`, which calls this handler when it is idle."""
        super().__init__()
        self.setFormatter(writer.formatter)
        self._writer = writer
        self._clock = clock
        self._limit = LineLimit()  # guarded by the handler's lock
        writer.when_idle(self._report_left_out)

    def handle(self, record: logging.LogRecord) -> Any:
        """Do what the base class does, without its lock: a long traceback must not delay others."""
        passes: Any = self.filter(record)  # may be a replacement for the record since Python 3.12
        if passes:
            self.emit(passes if isinstance(passes, logging.LogRecord) else record)
        return passes

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record's text, or count it as left out or dropped. Thread: any; never waits."""
        if record.levelno >= logging.INFO and record.name.partition(".")[0] in LIMITED:
            self.acquire()
            try:
                before_s = self._limit.next_s
                passes = self._limit.passes(_reason_of(record), record.levelno, self._clock())
            finally:
                self.release()
            if not passes:
                if before_s is None:
                    self._writer.wake()
                return
        try:
            text = self.format(record)
        except Exception as error:
            text = f"a record cannot be formatted, {error!r}: {record.msg!r}"
            self._writer.put(self._writer.note(text))
            return
        self._writer.put(text.encode(errors="backslashreplace") + b"\n")

    def report_all_left_out(self) -> None:
        """Report what was left out so far, before the end of its second. Thread: any."""
        self._report_left_out(math.inf)

    def _report_left_out(self, now_s: float | None = None) -> float | None:
        self.acquire()
        try:
            now_s = self._clock() if now_s is None else now_s
            left_out = self._limit.take_left_out(now_s)
            next_s = self._limit.next_s
        finally:
            self.release()
        for reason, level, lines in left_out:
            text = f"{lines} more lines like this were left out within {WINDOW_S:g} s: {reason}"
            self._writer.put(self._writer.note(text, level, reason=reason, left_out=lines))
        return None if next_s is None else max(0.0, next_s - now_s)


class BackgroundStream:
    """A stream for another library's StreamHandler that writes to a `BackgroundWriter`."""

    def __init__(self, writer: BackgroundWriter, fd: int) -> None:
        self._writer = writer
        self._fd = fd

    def write(self, text: str) -> None:
        """Keep `text`, as the handler formatted it, or count it as dropped. Thread: any."""
        text = shorten_to(text, MOST_TEXT_CHARACTERS, MOST_TEXT_CHARACTERS // 4)
        self._writer.put(text.encode(errors="backslashreplace"))

    def flush(self) -> None:
        """Do nothing: the thread writes as soon as it can."""

    def isatty(self) -> bool:
        """Return whether it is a terminal; some formatters use colours only then."""
        return os.isatty(self._fd)


def _reason_of(record: logging.LogRecord) -> str:
    reason = getattr(record, "reason", None)
    if reason is None:
        reason = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
    return printable(str(reason).partition("\n")[0][:200])


def _nothing_due() -> None:
    """Return None: no further call is due."""
