"""An executor that is one worker process, whose socket the event loop watches.

Theory of operation. A call and its result are a message each, on a pair of stream sockets: the loop
sends a call at once, as far as the socket takes it, and reads results when the socket is readable.
So a batch costs the server two system calls and no other thread. A `ProcessPoolExecutor` takes a
pipe, a queue and two threads for that: half a millisecond of CPU time per batch, where this takes
a tenth (docs/performance.md).

The worker makes the calls in their order, so results come in the order of the calls. Its end of the
socket closes when it dies; its sentinel is watched, too, because a process that it has forked may
keep that end open.

Thread: whichever made it, until `attach`; from then on the loop's, but for `shutdown` and `kill`.
"""

import asyncio
import atexit
import collections
import contextlib
import socket
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from typing import Any

from asyncrev.executors.messages import NOTHING, MessageBuffer, pack
from asyncrev.executors.worker_process import CallFailure, run_worker

__all__ = ["ProcessExecutor"]

JOIN_TIMEOUT_S = 5.0  # for a process that has been killed
SOCKET_BYTES = 256 * 1024  # that the kernel buffers each way, so that most batches go in one call


class ProcessExecutor(Executor):
    """One worker process; see the module.

    Attributes:
        pid: of the process.
    """

    def __init__(self, context: BaseContext, blocking_timeout_s: float) -> None:
        """Start the process. Blocks.

        `blocking_timeout_s`: for each call before `attach`.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                for end in (ours, theirs):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
                ours.settimeout(blocking_timeout_s)
                process: Any = context.Process(  # type: ignore[attr-defined]  # each context has it
                    target=run_worker, args=(theirs,), name="asyncrev-executor"
                )
                process.start()
            except BaseException:
                ours.close()
                raise
        self.pid: int = process.pid
        self._process = process
        self._sock = ours
        self._received = MessageBuffer()
        self._calls: collections.deque[Future[Any]] = collections.deque()  # without a result
        self._unsent: collections.deque[memoryview] = collections.deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_over = False  # lost, or shut down
        atexit.register(self.kill)  # multiprocessing waits for its processes at exit

    # -- calls -------------------------------------------------------------------------------------

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Send a call; before `attach`, wait for its result.

        Raises:
            BrokenProcessPool: the process has died, or was shut down.
        """
        if self._is_over:
            raise BrokenProcessPool(f"worker process {self.pid} has ended")
        message = memoryview(pack((function, args, kwargs)))
        call: Future[Any] = Future()
        self._calls.append(call)
        if self._loop is None:
            self._wait_for(call, message)
            return call
        self._unsent.append(message)
        if len(self._unsent) == 1:
            self._send()
        if self._is_over:  # nothing of the message was taken
            raise BrokenProcessPool(f"worker process {self.pid} has ended")
        return call

    def _wait_for(self, call: "Future[Any]", message: memoryview) -> None:
        try:
            self._sock.sendall(message)
            while not call.done():
                self._receive()
        except TimeoutError as error:
            self._calls.clear()
            call.set_exception(error)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have `loop`, which runs, watch the process; from now on `submit` does not block."""
        self._loop = loop
        self._sock.setblocking(False)
        loop.add_reader(self._sock, self._receive)
        loop.add_reader(self._process.sentinel, self._note_death)

    def _send(self) -> None:
        """Send what the socket takes; the rest when it takes more."""
        unsent = self._unsent
        try:
            while unsent:
                sent_bytes = self._sock.send(unsent[0])
                if sent_bytes == len(unsent[0]):
                    unsent.popleft()
                else:
                    unsent[0] = unsent[0][sent_bytes:]
        except (BlockingIOError, InterruptedError):
            assert self._loop is not None
            self._loop.add_writer(self._sock, self._send_rest)
        except OSError:
            self._note_death()

    def _send_rest(self) -> None:
        self._send()
        if self._loop is not None and not self._unsent:
            self._loop.remove_writer(self._sock)

    def _receive(self) -> bool:
        """Take results that are here; return whether more may be.

        If there will be none any more, the calls fail.
        """
        received = self._received
        try:
            nbytes = self._sock.recv_into(received.free())
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionError:
            nbytes = 0
        if not nbytes:
            self._lose()
            return False
        received.received(nbytes)
        while (result := received.take()) is not NOTHING:
            call = self._calls.popleft()
            if isinstance(result, CallFailure):
                call.set_exception(result.error())
            else:
                call.set_result(result)
        return True

    def _note_death(self) -> None:
        """Take what the process sent before its death; processes of its own may hold its socket."""
        while self._receive():
            pass
        if not self._is_over:
            self._lose()

    # -- the end -----------------------------------------------------------------------------------

    def _lose(self) -> None:
        """Note that there are no more results."""
        self._is_over = True
        self._detach()
        calls, self._calls = self._calls, collections.deque()
        for call in calls:
            call.set_exception(BrokenProcessPool(f"worker process {self.pid} has ended"))

    def _detach(self) -> None:
        loop, self._loop = self._loop, None
        self._unsent.clear()
        if loop is not None and not loop.is_closed():
            loop.remove_writer(self._sock)
            loop.remove_reader(self._sock)
            loop.remove_reader(self._process.sentinel)
        self._sock.close()

    def kill(self) -> None:
        """Kill the process. Thread: any."""
        with contextlib.suppress(ValueError):  # it is closed, so it has ended
            self._process.kill()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Have the process end after the calls that it has; idempotent. Thread: any.

        With `wait`, block until it has. Calls without a result then fail.
        """
        with contextlib.suppress(OSError):  # it is closed
            self._sock.shutdown(socket.SHUT_WR)
        if not wait:
            return
        with contextlib.suppress(ValueError):
            self._process.join()
        atexit.unregister(self.kill)
        loop = self._loop
        if loop is None:
            self._end()
            return
        try:
            loop.call_soon_threadsafe(self._end)
        except RuntimeError:  # it is closed
            self._end()

    def _end(self) -> None:
        """Take what is left, and close everything; the process has ended."""
        if not self._is_over:
            self._sock.setblocking(False)
            self._note_death()
        with contextlib.suppress(ValueError):
            self._process.close()
