"""The process of a worker: how it is started, how its end is seen, and what it says of its stacks.

A fresh interpreter, never a fork: no lock, thread or descriptor of the supervisor is in it.
"""

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence

from asyncrev.supervisor.causes import Cause, cause_of

__all__ = ["DESCRIPTORS_VARIABLE", "Command", "WorkerProcess"]

logger = logging.getLogger("asyncrev")

# Of the environment: the numbers of control, questions and stacks; see `WorkerProcess`.
DESCRIPTORS_VARIABLE = "ASYNCREV_WORKER_FDS"

KEPT_STACKS_BYTES = 64 * 1024
ABORT_S = 2.0  # from SIGABRT, which has the stacks written, to SIGKILL


@dataclasses.dataclass(frozen=True, slots=True)
class Command:
    """How a worker is started.

    Attributes:
        arguments: those of the process; the first is the interpreter.
        environment: its variables; the one with the descriptors is added.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str]


class WorkerProcess:
    """One worker's process. All methods: the loop's thread.

    Attributes:
        pid: its number.
        control: our end of the pair for packets; somebody else's from now on.
        questions: our end of the pair for questions; somebody else's, too.
    """

    def __init__(
        self, command: Command, listening: Sequence[int], on_end: Callable[[Cause], object]
    ) -> None:
        """Start it, with `listening` as open descriptors beside its own three.

        It takes some milliseconds, in which the loop waits. `on_end` is called once.

        Raises:
            OSError: there can be no such process.
        """
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._was_hung = False
        self._stacks = bytearray()
        self._killing: asyncio.TimerHandle | None = None
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as theirs:
            self.control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.callback(self.control.close)
            theirs.callback(control.close)
            self.questions, questions = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            undo.callback(self.questions.close)
            theirs.callback(questions.close)
            self._stacks_fd, stacks = os.pipe2(os.O_CLOEXEC)
            undo.callback(os.close, self._stacks_fd)
            theirs.callback(os.close, stacks)
            numbers = (control.fileno(), questions.fileno(), stacks)
            self._process = subprocess.Popen(
                command.arguments,
                env={**command.environment, DESCRIPTORS_VARIABLE: ",".join(map(str, numbers))},
                pass_fds=(*numbers, *listening),
                # A background group may not read from its terminal.
                stdin=subprocess.DEVNULL,
                # A Ctrl-C of the terminal is for the supervisor, which drains.
                process_group=0,
            )
            undo.pop_all()
        for sock in (self.control, self.questions):
            sock.setblocking(False)
        os.set_blocking(self._stacks_fd, False)
        self._loop.add_reader(self._stacks_fd, self._read_stacks)
        self.pid = self._process.pid
        self._pidfd = self._watch()

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def end_hung(self) -> None:
        """End it for not moving: it writes the stacks of all threads if it can, then it is killed.

        SIGCONT, because one that is stopped gets no other signal than SIGKILL.
        """
        self._was_hung = True
        self.send_signal(signal.SIGABRT)
        self.send_signal(signal.SIGCONT)
        self._kill_later(ABORT_S)

    def end_soon(self, timeout_s: float) -> None:
        """End it by SIGTERM, or by SIGKILL after `timeout_s`."""
        self.send_signal(signal.SIGTERM)
        self._kill_later(timeout_s)

    def kill_after(self, timeout_s: float) -> None:
        """End it by SIGKILL if it has not ended after `timeout_s`."""
        self._kill_later(timeout_s)

    @property
    def stacks(self) -> str:
        """What it wrote about its stacks, the last of it; "" if nothing."""
        return self._stacks.decode("utf-8", "backslashreplace")

    # -- its end -----------------------------------------------------------------------------

    def _watch(self) -> int | None:
        try:
            pidfd = os.pidfd_open(self.pid)
        except OSError:  # Linux before 5.3, or forbidden in a sandbox
            threading.Thread(target=self._wait, name="asyncrev-wait", daemon=True).start()
            return None
        self._loop.add_reader(pidfd, self._note_end)
        return pidfd

    def _wait(self) -> None:
        self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._note_end)

    def _note_end(self) -> None:
        code = self._process.wait()
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        if self._killing is not None:
            self._killing.cancel()
        self._read_stacks()
        self._close_stacks()
        self._on_end(cause_of(code, hung=self._was_hung))

    def _kill_later(self, timeout_s: float) -> None:
        if self._killing is not None:
            self._killing.cancel()
        self._killing = self._loop.call_later(timeout_s, self.send_signal, signal.SIGKILL)

    def _read_stacks(self) -> None:
        while self._stacks_fd >= 0:
            try:
                read = os.read(self._stacks_fd, KEPT_STACKS_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            if not read:  # all writers have closed it
                self._close_stacks()
                return
            self._stacks += read
            del self._stacks[:-KEPT_STACKS_BYTES]

    def _close_stacks(self) -> None:
        if self._stacks_fd >= 0:
            self._loop.remove_reader(self._stacks_fd)
            os.close(self._stacks_fd)
            self._stacks_fd = -1
