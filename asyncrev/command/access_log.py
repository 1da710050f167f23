"""The access log: one line per closed connection, written on a thread of its own.

It keeps as many lines as the log on stderr while the file is slow. Lines that are dropped or cannot
be written are counted, and reported in the log once per second at most.
"""

import json
import logging
import math
import time
from collections.abc import Callable
from typing import Any

from asyncrev.command.log_json import json_line, rfc3339
from asyncrev.command.log_output import MOST_BYTES, MOST_LINES, BackgroundWriter
from asyncrev.command.output_file import OutputFile
from asyncrev.log_text import name_of_peer, printable
from asyncrev.statistics import ClosedConnection

__all__ = ["FILE_MODE", "AccessLog", "fields_of", "text_of"]

logger = logging.getLogger("asyncrev")

FILE_MODE = 0o640  # of a new file: the group may read it, as with other servers' access logs
REPORT_S = 1.0
CLOSE_S = 0.5  # how long a blocked file may delay the exit


def fields_of(closed: ClosedConnection, unix_s: float) -> dict[str, Any]:
    """Return the fields of a line, in order; those that a connection does not have are left out."""
    info = closed.info
    fields: dict[str, Any] = {
        "ts": rfc3339(unix_s),
        "peer": name_of_peer(None if info is None else info.peer_address),
    }
    if info is not None and info.local_address:
        fields["local"] = name_of_peer(info.local_address)
    if info is not None and info.unix_credentials is not None:
        fields["peer_pid"] = info.unix_credentials.pid
        fields["peer_uid"] = info.unix_credentials.uid
    fields["duration_s"] = round(closed.duration_s, 3)
    fields["received_bytes"] = closed.received_bytes
    fields["replied_bytes"] = closed.replied_bytes
    if closed.frames is not None:
        fields["frames"] = closed.frames
    if info is not None and info.tls is not None:
        tls = {
            "tls": info.tls.version,
            "alpn": info.tls.alpn,
            "sni": info.tls.server_name,
        }
        fields |= {name: value for name, value in tls.items() if value is not None}
    fields["end"] = closed.end
    return fields


def text_of(fields: dict[str, Any]) -> str:
    """Return `fields` as text: the time, then name=value, in quotes where a value has a space."""
    pairs = (f"{name}={_quoted(value)}" for name, value in fields.items() if name != "ts")
    return f"{fields['ts']} {' '.join(pairs)}"


def _quoted(value: object) -> str:
    text = printable(str(value))
    if text and not any(char in text for char in ' "=\\'):
        return text
    return json.dumps(text, ensure_ascii=False)


class AccessLog:
    """Writes a line to a file for each connection that it is told of.

    Attributes:
        file: what it writes to; reopened by its own method.
        dropped: lines that were not kept because the file was too slow, or not written. Writer:
            thread of the log; reader: any.
    """

    def __init__(
        self,
        file: OutputFile,
        log_format: str = "text",
        *,
        clock: Callable[[], float] = time.time,
        most_lines: int = MOST_LINES,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """Start the thread. `log_format`: "text" or "json". From now on `file` is its own.

        Raises:
            RuntimeError: of threading.
        """
        self.file = file
        self._make: Callable[[dict[str, Any]], str] = json_line if log_format == "json" else text_of
        self._clock = clock
        self._writer = _FileWriter(file, most_lines=most_lines, most_bytes=most_bytes)

    @property
    def dropped(self) -> int:
        """How many lines were dropped or could not be written so far, as far as reported."""
        return self._writer.lost

    def note_closed(self, closed: ClosedConnection) -> None:
        """Keep the line of a connection. Thread: any; never waits."""
        line = self._make(fields_of(closed, self._clock()))
        self._writer.put(line.encode(errors="backslashreplace") + b"\n")

    def use_reopened(self) -> None:
        """Make the thread close the file before soon, even if no line comes. Thread: any."""
        self._writer.wake()

    def close(self, timeout_s: float = CLOSE_S) -> bool:
        """Write the kept lines, for at most `timeout_s`; return whether all were handled."""
        ended = self._writer.stop(timeout_s)
        self._writer.report(final=True)
        if ended:
            self.file.close()
        return ended


class _FileWriter(BackgroundWriter):
    """Reports what was lost in the log instead of in the file.

    Attributes:
        lost: lines that were reported. Writer: thread of the log, then the one that closes.
    """

    def __init__(self, file: OutputFile, *, most_lines: int, most_bytes: int) -> None:
        self._file = file
        self._reported_s = -math.inf
        self.lost = 0
        super().__init__(-1, most_lines=most_lines, most_bytes=most_bytes)
        self.when_idle(self._when_to_report)

    def report(self, *, final: bool = False) -> None:
        """Log what was lost since the last report, if any; `final`: with what is still kept."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
            if final:
                dropped += self._kept_lines
        unwritten, self._unwritten = self._unwritten, 0
        self.lost += dropped + unwritten
        if dropped:
            logger.warning(
                "%d lines of %s %r were dropped: they could not be written in time",
                dropped,
                self._file.option,
                self._file.path,
                extra={"fields": {"dropped": dropped}},
            )
        if unwritten:
            logger.warning(
                "%d lines could not be written to %s %r: %s",
                unwritten,
                self._file.option,
                self._file.path,
                self._why,
                extra={"fields": {"unwritten": unwritten}},
            )
        if dropped or unwritten:
            self._reported_s = time.monotonic()

    def _report_dropped(self) -> None:
        """Do nothing: `_when_to_report` is called after it."""

    def _when_to_report(self) -> float | None:
        self._use_current()
        if not (self._dropped or self._unwritten):
            return None
        due_s = self._reported_s + REPORT_S - time.monotonic()
        if due_s > 0:
            return due_s
        self.report()
        return None

    def _write(self, line: bytes) -> None:
        self._use_current()
        if not self._try_to_write(line):
            self._unwritten += 1

    def _use_current(self) -> None:
        fd = self._file.current()
        if fd != self._fd:
            self._fd = fd
            self._within_line = False
