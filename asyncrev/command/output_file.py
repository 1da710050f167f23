"""A file that an option names, and that is reopened while a thread writes to it.

So logrotate(8) can rename it: what is written after SIGHUP goes to a new file of that name.
"""

import collections
import logging
import os
import stat
from collections.abc import Sequence
from typing import Self

from asyncrev.command.tee_file import close_tee, open_tee
from asyncrev.errors import LocalError, SettingsError

__all__ = ["OutputFile", "refuse_shared_output", "reopen"]

logger = logging.getLogger("asyncrev")


class OutputFile:
    """An open file. One thread at a time writes; any thread may reopen it.

    Attributes:
        option, path: as they were given, "-" for stdout.
    """

    def __init__(self, fd: int, path: str, option: str = "--tee", mode: int = 0o600) -> None:
        """Own `fd`, unless it is a standard descriptor. `mode` is that of a file that is made."""
        self.option = option
        self.path = path
        self._mode = mode
        self._fd = fd  # thread: the one that writes
        # Writer: any; reader: the one that writes. A deque, whose methods are atomic.
        self._next: collections.deque[int] = collections.deque()
        self._is_closed = False  # writer: the one that closes; reader: any
        self._can_reopen = path != "-" and fd >= 0 and stat.S_ISREG(os.fstat(fd).st_mode)

    @classmethod
    def open(cls, path: str, option: str = "--tee", mode: int = 0o600) -> Self:
        """Open `path` as `open_tee` does.

        Raises:
            LocalError, OSError: as `open_tee`.
        """
        return cls(open_tee(path, option, mode), path, option, mode)

    @property
    def can_reopen(self) -> bool:
        """Whether it is a regular file: stdout, a pipe or a device cannot be reopened by name."""
        return self._can_reopen

    def current(self) -> int:
        """Return what to write to, or -1 after `give_up`. Thread: the one that writes.

        The descriptor is valid until the next call. What was reopened counts from here on.
        """
        while self._next:
            try:
                fd = self._next.popleft()
            except IndexError:  # another thread has closed meanwhile
                break
            self._close(self._fd)
            self._fd = fd
        return self._fd

    def give_up(self) -> None:
        """Write no more until it is reopened. Thread: the one that writes."""
        self._close(self._fd)
        self._fd = -1

    def reopen(self) -> None:
        """Open the file of that name again; the thread that writes uses it from its next write on.

        Thread: any; it waits for a disk that is slow.

        Raises:
            LocalError, OSError: as `open_tee`; then the one before stays open.
        """
        self._next.append(open_tee(self.path, self.option, self._mode))
        if self._is_closed:
            self.close()

    def close(self) -> None:
        """Close it. Idempotent. Thread: any, once nobody writes."""
        self._is_closed = True
        self._close_next()
        self.give_up()

    def _close_next(self) -> None:
        """Close what was reopened and not used yet. Thread: any."""
        while True:
            try:
                self._close(self._next.popleft())
            except IndexError:
                return

    def _close(self, fd: int) -> None:
        if fd >= 0:
            close_tee(fd, self.path, self.option)


def reopen(files: Sequence[OutputFile], why: str) -> bool:
    """Reopen those that are regular files, and log it in one line; return whether all went well.

    A file that cannot be opened is logged, and the one before stays. Thread: any; it may wait for a
    disk.
    """
    done: list[str] = []
    failed = False
    for file in files:
        if not file.can_reopen:
            continue
        try:
            file.reopen()
            done.append(f"{file.option} {file.path!r}")
        except (OSError, LocalError) as error:
            failed = True
            text = error.strerror if isinstance(error, OSError) else str(error)
            logger.error("%s: not reopened, the file before stays in use: %s", why, text)
    if done:
        logger.info("%s: reopened %s", why, " and ".join(done))
    elif not failed:
        logger.warning(
            "%s is ignored: neither --tee nor --access-log names a file to reopen, and reloading "
            "does not exist yet",
            why,
        )
    return not failed


def refuse_shared_output(tee: str | None, access_log: str | None) -> None:
    """Check that `--tee` and `--access-log` do not write to the same place.

    Raises:
        SettingsError: they do.
    """
    if tee is None or access_log is None:
        return
    if tee == access_log == "-":
        raise SettingsError(
            "--tee - and --access-log - would both write to stdout; name a file for one of them"
        )
    if tee != "-" and os.path.realpath(tee) == os.path.realpath(access_log):
        raise SettingsError(
            f"--tee and --access-log would both write to {tee!r}; name another file for one of them"
        )
