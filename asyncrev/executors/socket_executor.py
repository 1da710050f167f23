"""Executors whose worker is at the other end of a socket, which the event loop watches.

Theory of operation. A call and its result are a message each, on a pair of stream sockets: the loop
sends a call at once, as far as the socket takes it, and reads results when the socket is readable.
So a batch costs the server two system calls and no other thread. A `ProcessPoolExecutor` takes a
pipe, a queue and two threads for that: half a millisecond of CPU time per batch, where this takes
a tenth (docs/performance.md).

The worker makes the calls in their order, so results come in the order of the calls. Its end of the
socket closes when it ends; a process has a sentinel besides, because a process that it has forked
may keep that end open.

Thread: whichever made it, until `attach`; from then on the loop's, but for `shutdown`.
"""

import abc
import asyncio
import collections
import contextlib
import socket
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import Any

from asyncrev.executors.call_server import CallFailure
from asyncrev.executors.messages import NOTHING, MessageBuffer, pack

__all__ = ["SocketExecutor"]

SOCKET_BYTES = 256 * 1024  # that the kernel buffers each way, so that most batches go in one call


class SocketExecutor(Executor, abc.ABC):
    """One worker; see the module."""

    def __init__(self, blocking_timeout_s: float) -> None:
        """Start the worker. Blocks.

        `blocking_timeout_s`: for each call before `attach`.
        """
        self._received = MessageBuffer()
        self._calls: collections.deque[Future[Any]] = collections.deque()  # without a result
        self._unsent: collections.deque[memoryview] = collections.deque()
        self._loop: asyncio.AbstractEventLoop | None = None  # while it watches
        self._attached_to: asyncio.AbstractEventLoop | None = None  # readers: all threads
        self._on_end: Callable[[], object] = bool  # set by `attach`
        self._is_over = False  # lost, or shut down
        self._sock, theirs = socket.socketpair()
        try:
            for end in (self._sock, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
            self._sock.settimeout(blocking_timeout_s)
            self._start(theirs)
        except BaseException:
            theirs.close()
            self._sock.close()
            raise

    # -- the worker --------------------------------------------------------------------------------

    @abc.abstractmethod
    def _start(self, sock: socket.socket) -> None:
        """Start the worker with its end of the socket, which is to be closed here."""

    @abc.abstractmethod
    def _name(self) -> str:
        """Return what the worker is called in messages."""

    def _sentinel(self) -> int | None:
        """Return a descriptor that is readable once the worker has ended, if there is one."""
        return None

    @abc.abstractmethod
    def _join(self) -> None:
        """Wait for the end of the worker. Blocks; thread: any."""

    def _free(self) -> None:
        """Free what is kept of a worker that has ended, or was left behind. Idempotent."""

    # -- calls -------------------------------------------------------------------------------------

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Send a call; before `attach`, wait for its result.

        Raises:
            BrokenExecutor: the worker has died, or was shut down.
        """
        if self._is_over:
            raise BrokenExecutor(f"{self._name()} has ended")
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
            raise BrokenExecutor(f"{self._name()} has ended")
        return call

    def _wait_for(self, call: "Future[Any]", message: memoryview) -> None:
        try:
            self._sock.sendall(message)
            while not call.done():
                self._receive()
        except TimeoutError as error:
            self._calls.clear()
            call.set_exception(error)
        except ConnectionError:
            self._lose()

    def attach(self, loop: asyncio.AbstractEventLoop, on_end: Callable[[], object]) -> None:
        """Have `loop`, which runs, watch the worker; from now on `submit` does not block.

        `on_end` is called in a later callback of the loop, once the worker has ended.
        """
        self._loop = self._attached_to = loop
        self._on_end = on_end
        self._sock.setblocking(False)
        loop.add_reader(self._sock, self._receive)
        if (sentinel := self._sentinel()) is not None:
            loop.add_reader(sentinel, self._note_death)

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
        except OSError:  # it has ended
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
        """Take what the worker sent before its end; processes of its own may hold its socket."""
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
            call.set_exception(BrokenExecutor(f"{self._name()} has ended"))

    def _detach(self) -> None:
        loop, self._loop = self._loop, None
        self._unsent.clear()
        if loop is not None and not loop.is_closed():
            loop.call_soon(self._on_end)
            loop.remove_writer(self._sock)
            loop.remove_reader(self._sock)
            if (sentinel := self._sentinel()) is not None:
                loop.remove_reader(sentinel)
        self._sock.close()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Have the worker end after the calls that it has; idempotent. Thread: any.

        With `wait`, block until it has. Without it, calls without a result fail at once.
        """
        self._on_loop(self._end_calls)
        if wait:
            self._join()
        self._on_loop(self._end)

    def _on_loop(self, step: Callable[[], object]) -> None:
        """Have the loop do something, if it runs: it may be closing the socket at this moment."""
        loop = self._attached_to
        if loop is None or not loop.is_running() or _runs_here(loop):
            step()
            return
        try:
            loop.call_soon_threadsafe(step)
        except RuntimeError:  # it is closed
            step()

    def _end_calls(self) -> None:
        """Tell the worker that there are no more calls."""
        with contextlib.suppress(OSError):  # it is closed
            self._sock.shutdown(socket.SHUT_WR)

    def _end(self) -> None:
        """Take what is left, and close everything."""
        if not self._is_over:
            self._sock.setblocking(False)
            self._note_death()
        self._free()


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
