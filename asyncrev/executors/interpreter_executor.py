"""An executor that is one interpreter of this process, with its own GIL; see `socket_executor`.

`Interpreter.call` takes about a millisecond for a batch; so it is called once, and the interpreter
answers the calls that come by its socket, as a worker process does.
"""

import importlib
import importlib.util
import logging
import socket
import sys
import threading

from asyncrev.errors import SettingsError
from asyncrev.executors.call_server import serve_calls_at
from asyncrev.executors.socket_executor import SocketExecutor
from asyncrev.executors.thread_executor import stack_of

__all__ = ["InterpreterExecutor", "check_interpreters"]

logger = logging.getLogger("asyncrev")


def check_interpreters() -> None:
    """Look whether this Python has interpreters.

    Raises:
        SettingsError: it has none.
    """
    if importlib.util.find_spec("concurrent.interpreters") is None:
        raise SettingsError(
            f"executor is 'interpreters', but Python {sys.version.split()[0]} has no "
            "concurrent.interpreters, which is new in 3.14; use processes"
        )


class InterpreterExecutor(SocketExecutor):
    """One interpreter, on a thread that may hang without keeping the process.

    `check_interpreters` says whether there can be one. Thread: that of `SocketExecutor`, but for
    `join`, `is_alive` and `stack`: any.
    """

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the thread, after `shutdown`. Blocks."""
        self._thread.join(timeout_s)

    @property
    def is_alive(self) -> bool:
        """Whether the thread has not ended."""
        return self._thread.is_alive()

    def stack(self) -> str:
        """Return where the thread is now, up to its call of the interpreter."""
        return stack_of(self._thread)

    def _start(self, sock: socket.socket) -> None:
        self._thread = threading.Thread(
            target=_run, args=(sock,), name="asyncrev-executor", daemon=True
        )
        self._thread.start()

    def _name(self) -> str:
        return "an interpreter"

    def _join(self) -> None:
        self._thread.join()


def _run(sock: socket.socket) -> None:
    """Have a new interpreter answer calls. Thread: the executor's."""
    with sock:
        try:
            interpreter = importlib.import_module("concurrent.interpreters").create()
            try:
                interpreter.call(serve_calls_at, sock.fileno())
            finally:
                interpreter.close()
        except Exception as error:  # its executor sees the end of the socket
            logger.error("an interpreter failed: %s", error, extra={"reason": "executor: died"})
