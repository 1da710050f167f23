"""The event loop: asyncio's selector loop on epoll, with our transport for streams."""

import asyncio
import contextvars
import socket
from asyncio import events as asyncio_events
from asyncio import sslproto
from collections.abc import Coroutine
from typing import Any, TypeVar

from asyncrev.loop.iterations import IterationHook, IterationLoop
from asyncrev.loop.selector import BatchHandler, Dispatch, WatchingSelector
from asyncrev.loop.transport import EpollTransport

__all__ = ["EpollEventLoop", "IterationHook", "run"]

Result = TypeVar("Result")


class EpollEventLoop(IterationLoop):
    """A SelectorEventLoop on epoll whose stream transports never keep a caller's memory.

    Callbacks run in the order of asyncio's own loop. This is all that differs from it:

    - **Platform**: it needs epoll, which only Linux has.
    - **Selector**: one that is passed must be a `WatchingSelector`. `add_reader` and the like share
      it with the streams, but the descriptors of streams are not in its `get_map`.
    - **Descriptors**: a loop has one more descriptor, an eventfd.
    - **Transports**: plain and TLS streams get an `EpollTransport`, with another `repr` and none of
      the private attributes of asyncio's.
    - **Writes**: what the kernel does not take at once is copied, so a buffer may be reused as soon
      as `write` or `writelines` returns; asyncio keeps a view of it since 3.12.
    - **Views**: `write` takes a memoryview of any shape and format, and counts in bytes.
    - **Reset**: a peer's reset ends a connection at once, also while reading is paused or after
      `eof_received`; asyncio notices it at the next read or write.
    - **Pauses**: `pause_reading` and `resume_reading` make no system call, unless input comes
      between them. So input that was polled before both calls is read in the same iteration, and
      the debug log does not mention them.
    - **Contexts**: all calls to a protocol about its stream run in the context of the code that
      connected (see `contextvars`); before 3.15 asyncio's run in that of the code that resumed
      reading.
    - **Ends**: `connection_lost` is always called in a later iteration, also when `close` had to
      wait for the write buffer; a `write_eof` that fails ends the connection and does not raise.
    - **Interrupts**: KeyboardInterrupt or SystemExit out of a send, a receive, or a call that hands
      input to a protocol ends the stream, too, because bytes may be lost in it.
    - **Polls**: one poll returns at most 128 events; the next returns the other descriptors first.
    - **Handles**: outside debug mode the streams that one poll found ready are a single entry of
      the queue of callbacks; in debug mode they have a Handle each, named `_dispatch_if_watched`.
    - **Hooks**: `add_iteration_hook` adds calls around every poll, `wake` begins an iteration from
      any thread, and `watch_in_batches` reports many ready descriptors in one call.
    """

    def __init__(self, selector: WatchingSelector | None = None) -> None:
        """Make a loop, with a new selector unless one is given.

        Raises:
            LocalError: this platform has no epoll, or `selector` is of another kind or serves
                another loop already; it stays open.
        """
        self._last_sockname: Any = None
        super().__init__(selector)

    def shared_sockname(self, sockname: Any) -> Any:
        """Return `sockname`, or what the stream before has for it if that is equal. Thread: loop.

        The accepted streams of one listening socket have one local address, so they share it.
        """
        if sockname != self._last_sockname:
            self._last_sockname = sockname
        return self._last_sockname

    def attach_socket(self, sock: socket.socket, protocol: asyncio.BaseProtocol) -> EpollTransport:
        """Return the transport of a connected, non-blocking stream socket, which it owns now.

        What `connect_accepted_socket` does without TLS, for callers that are no coroutine:
        `protocol.connection_made` is called in the next iteration. Thread: loop.

        Raises:
            OSError, RuntimeError: the socket is closed, or has a transport; it stays the caller's.
        """
        return self._make_socket_transport(sock, protocol)

    def watch(self, fd: int, events: int, dispatch: Dispatch) -> None:
        """Call `dispatch(events)` whenever epoll reports `fd`. Thread: loop.

        Used by `EpollTransport`, like the following methods.

        Raises:
            OSError: epoll refuses `fd`.
            RuntimeError: the loop is closed.
        """
        self._check_closed()  # type: ignore[attr-defined]
        self._selector.watch(fd, events, dispatch)

    def watch_in_batches(self, fd: int, events: int, handler: BatchHandler) -> None:
        """Report the events of `fd` to `handler`, together with those of its other descriptors.

        All descriptors with the same handler form a class. Those of a class that one poll found
        ready are passed in one call, in the order of the poll, unless other descriptors come
        between them in that order: these are dispatched between two calls. `rewatch` and `unwatch`
        work as for `watch`. Thread: loop.

        Args:
            fd: a descriptor that is neither watched nor registered.
            events: epoll's events; hang-ups and errors are always reported.
            handler: gets the descriptor and the events; see `BatchHandler.on_ready_batch`.

        Raises:
            OSError: epoll refuses `fd`, for instance because it is watched already.
            RuntimeError: the loop is closed.
        """
        self._check_closed()  # type: ignore[attr-defined]
        self._selector.watch_in_batches(fd, events, handler)

    def rewatch(self, fd: int, events: int) -> None:
        """Change the events that `fd` is watched for. Thread: loop."""
        self._check_closed()  # type: ignore[attr-defined]
        self._selector.rewatch(fd, events)

    def redirect(self, fd: int, dispatch: Dispatch) -> None:
        """Call `dispatch` for the events of `fd`, which is watched. Thread: loop."""
        self._check_closed()  # type: ignore[attr-defined]
        self._selector.redirect(fd, dispatch)

    def redirect_to_batches(self, fd: int, handler: BatchHandler) -> None:
        """Have `handler` get the events of `fd`, which is watched. Thread: loop."""
        self._check_closed()  # type: ignore[attr-defined]
        self._selector.redirect_to_batches(fd, handler)

    def unwatch(self, fd: int) -> None:
        """Stop watching `fd`; idempotent, and a closed loop watches nothing. Thread: loop."""
        if not self.is_closed():
            self._selector.unwatch(fd)

    # -- called by asyncio -----------------------------------------------------------------

    def _make_socket_transport(
        self,
        sock: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        *,
        extra: dict[str, Any] | None = None,
        server: Any = None,
        context: contextvars.Context | None = None,  # from 3.15 on
    ) -> EpollTransport:
        self._ensure_fd_no_transport(sock)  # type: ignore[attr-defined]
        return EpollTransport(self, sock, protocol, waiter, extra, server, context)

    def _make_ssl_transport(
        self,
        rawsock: Any,
        protocol: asyncio.BaseProtocol,
        sslcontext: Any,
        waiter: asyncio.Future[None] | None = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: dict[str, Any] | None = None,
        server: Any = None,
        context: contextvars.Context | None = None,
        **timeouts: Any,
    ) -> Any:
        # asyncio's method makes its own transport here, without `_make_socket_transport`.
        self._ensure_fd_no_transport(rawsock)  # type: ignore[attr-defined]
        make_tls: Any = sslproto.SSLProtocol
        tls = make_tls(self, protocol, sslcontext, waiter, server_side, server_hostname, **timeouts)
        EpollTransport(self, rawsock, tls, None, extra, server, context)
        return tls._app_transport


def run(main: Coroutine[Any, Any, Result], *, debug: bool | None = None) -> Result:
    """Run `main` on a new `EpollEventLoop`, as `asyncio.run` does on asyncio's.

    Raises:
        RuntimeError: a loop is running in this thread.
    """
    if asyncio_events._get_running_loop() is not None:
        raise RuntimeError("asyncrev.run() cannot be called from a running event loop")
    with asyncio.Runner(debug=debug, loop_factory=EpollEventLoop) as runner:
        return runner.run(main)
