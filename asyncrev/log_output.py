"""Log lines without waiting: whoever does not read the server's stderr must not stop its loop."""

import logging
import logging.handlers
import os
import queue
import threading

__all__ = ["MOST_RECORDS", "BackgroundHandler", "Descriptor"]

MOST_RECORDS = 10_000  # about 5 MiB of records that nobody takes


class BackgroundHandler(logging.handlers.QueueHandler):
    """Passes records to another handler on a thread of its own; what it cannot keep, it counts.

    A pipe of 64 KiB that nobody reads is full after 450 lines, and a write to it then blocks.
    """

    def __init__(self, target: logging.Handler, most_records: int = MOST_RECORDS) -> None:
        """Start the thread. `target` is used by it alone."""
        self._records: queue.Queue[logging.LogRecord | None] = queue.Queue(most_records)
        super().__init__(self._records)
        # The message alone: what a line looks like is the business of `target`.
        self.setFormatter(logging.Formatter("%(message)s"))
        self._target = target
        self._lock_dropped = threading.Lock()
        self._dropped = 0  # guarded by _lock_dropped
        self._thread = threading.Thread(target=self._run, name="asyncrev-log", daemon=True)
        self._thread.start()

    def enqueue(self, record: logging.LogRecord) -> None:
        """Keep `record` for the thread, or count it as dropped. Thread: any; never waits."""
        try:
            self._records.put_nowait(record)
        except queue.Full:
            with self._lock_dropped:
                self._dropped += 1

    def stop(self, timeout_s: float) -> bool:
        """Write what is kept, for at most `timeout_s`; return whether that was all."""
        try:
            self._records.put(None, timeout=timeout_s)
        except queue.Full:
            return False
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (record := self._records.get()) is not None:
            # Not `handle`: it would hold the lock that `logging.shutdown` wants at the exit.
            self._target.emit(record)
            self._tell_dropped()
        self._tell_dropped()

    def _tell_dropped(self) -> None:
        with self._lock_dropped:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            args = ("asyncrev", logging.WARNING, __file__, 0)
            self._target.emit(
                logging.LogRecord(*args, "%d log lines were dropped", (dropped,), None)
            )


class Descriptor:
    """What a StreamHandler needs of a stream, on a descriptor.

    `sys.stderr` would not do: a thread that is stuck in a write to it holds its lock, and then
    the interpreter's own flush at the end aborts the process.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, text: str) -> None:
        """Write all of `text`, however long that takes.

        Raises:
            OSError: the descriptor cannot be written to.
        """
        data = text.encode(errors="backslashreplace")
        while data:
            data = data[os.write(self._fd, data) :]

    def flush(self) -> None:
        """Do nothing: nothing is kept."""
