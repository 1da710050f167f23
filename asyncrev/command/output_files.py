"""The files that one server of the command writes: those of `--tee` and of `--access-log`."""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from asyncrev.command.output_file import OutputFile, reopen
from asyncrev.command.settings import ServeSettings
from asyncrev.errors import LocalError

if TYPE_CHECKING:  # imported when there is one
    from asyncrev.command.access_log import AccessLog

__all__ = ["OutputFiles"]

logger = logging.getLogger("asyncrev")


class OutputFiles:
    """Opens, reopens and closes them. Thread: the loop's, but for `reopen`.

    Attributes:
        tee: the file of `--tee`, or None.
        access_log: that of `--access-log`, or None.
    """

    def __init__(self) -> None:
        self.tee: OutputFile | None = None
        self.access_log: AccessLog | None = None
        self._reopening = threading.Lock()

    def open(self, settings: ServeSettings) -> None:
        """Open what the settings name.

        Raises:
            OSError: a file cannot be opened; names the option.
            LocalError: a file is of a kind that cannot be used, or no thread can be started.
        """
        if settings.tee is not None:
            self.tee = OutputFile.open(settings.tee)
        if settings.access_log is None:
            return
        from asyncrev.command.access_log import FILE_MODE, AccessLog

        file = OutputFile.open(settings.access_log, "--access-log", FILE_MODE)
        try:
            self.access_log = AccessLog(file, settings.log_format)
        except RuntimeError as error:  # of threading
            file.close()
            raise LocalError(f"the thread of --access-log: {error}") from None

    def reopen(self, why: str) -> bool:
        """Reopen them under their names, for log rotation; log one line that begins with `why`.

        Return whether all went well. Thread: any; it may wait for a disk.
        """
        files = [] if self.tee is None else [self.tee]
        if self.access_log is not None:
            files.append(self.access_log.file)
        with self._reopening:
            went_well = reopen(files, why)
        if self.access_log is not None:
            self.access_log.use_reopened()
        return went_well

    def reopen_soon(
        self, why: str, during: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        """Do what `reopen` does on another thread, so that no disk makes the loop wait.

        That thread enters `during()` for the time.
        """

        def run() -> None:
            with during():
                self.reopen(why)

        thread = threading.Thread(target=run, name="asyncrev-reopen", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            logger.error("%s: nothing is reopened: the thread for that: %s", why, error)

    def close(self) -> None:
        """Write what is left, for half a second at most, and close them. Idempotent."""
        if self.access_log is not None:
            self.access_log.close()
        if self.tee is not None:
            self.tee.close()
