"""An executor that is one worker process; see `socket_executor`."""

import atexit
import contextlib
import socket
from multiprocessing.context import BaseContext
from typing import Any

from asyncrev.executors.socket_executor import SocketExecutor
from asyncrev.executors.worker_process import run_worker

__all__ = ["ProcessExecutor"]


class ProcessExecutor(SocketExecutor):
    """One worker process. Thread: that of `SocketExecutor`, but for `kill`.

    Attributes:
        pid: of the process.
    """

    def __init__(self, context: BaseContext, blocking_timeout_s: float) -> None:
        """Start the process, by `context`. Blocks; see `SocketExecutor`."""
        self._context = context
        super().__init__(blocking_timeout_s)

    def kill(self) -> None:
        """Kill the process. Thread: any."""
        with contextlib.suppress(ValueError):  # it is closed, so it has ended
            self._process.kill()

    def _start(self, sock: socket.socket) -> None:
        process: Any = self._context.Process(  # type: ignore[attr-defined]  # each context has it
            target=run_worker, args=(sock,), name="asyncrev-executor"
        )
        with sock:
            process.start()
        self._process = process
        self.pid: int = process.pid
        atexit.register(self.kill)  # multiprocessing waits for its processes at exit

    def _name(self) -> str:
        return f"worker process {self.pid}"

    def _sentinel(self) -> int | None:
        sentinel: int = self._process.sentinel
        return sentinel

    def _join(self) -> None:
        with contextlib.suppress(ValueError):
            self._process.join()

    def _free(self) -> None:
        atexit.unregister(self.kill)
        with contextlib.suppress(ValueError):
            self._process.close()
