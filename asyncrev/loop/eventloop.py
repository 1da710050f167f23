"""The event loop: asyncio's selector loop on epoll, with our transport for streams."""

import asyncio
import collections
import contextvars
import selectors
from asyncio import events as asyncio_events
from asyncio import sslproto
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from asyncrev.errors import LocalError
from asyncrev.loop.ready_batches import HandledBatch, ReadyBatch
from asyncrev.loop.selector import BatchHandler, Dispatch, Events, WatchingSelector
from asyncrev.loop.transport import EpollTransport

__all__ = ["EpollEventLoop", "run"]

Result = TypeVar("Result")


class IterationHook(Protocol):
    """Calls around every poll, once per loop iteration; both are short and do not raise.

    A hook may have an attribute `poll`, a function that polls in the place of the loop's selector
    when no callback is ready, while it is the only hook, and not in debug mode. It gets the loop's
    epoll, the eventfd of `EpollEventLoop.wake`, whose events are nobody's, and how many seconds to
    wait, for ever if that is below 0. It may do what its `BatchHandler` would do about events, and
    poll again then, until the timeout. It returns the events that are left of the last poll, in its
    order, or None if the selector is to poll.
    """

    def before_poll(self) -> bool:
        """Do what is due after the callbacks of the iteration; return whether more is due at once.

        Callbacks that it schedules with `call_soon` run in the next iteration, and the loop polls
        without waiting then, as it does if more is due.
        """
        ...

    def after_poll(self) -> None:
        """Note that the loop is awake again."""
        ...


class EpollEventLoop(asyncio.SelectorEventLoop):
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

    _selector: WatchingSelector
    # Of BaseEventLoop.
    _debug: bool
    _ready: collections.deque[Any]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, selector: WatchingSelector | None = None) -> None:
        """Make a loop, with a new selector unless one is given.

        Raises:
            LocalError: this platform has no epoll, or `selector` is of another kind or serves
                another loop already; it stays open.
        """
        self._closed = True  # until the loop is made, so that __del__ does not close it
        if not hasattr(selectors, "EpollSelector"):
            raise LocalError(
                "EpollEventLoop needs epoll, which only Linux has; use asyncio's or uvloop's loop"
            )
        _check_selector(selector)
        self._iteration_hooks: tuple[IterationHook, ...] = ()
        self._last_sockname: Any = None
        made = WatchingSelector() if selector is None else selector
        self._batch = ReadyBatch(self, made.watches)
        self._selector = made  # asyncio does the same, but calls `set_debug` before
        try:
            super().__init__(made)
        except BaseException:
            self._closed = True
            if selector is None:
                made.close()
            raise
        self._wake_poll = made.wake  # asyncio forgets the selector when it closes
        made.before_poll = self._before_poll
        made.after_poll = self._after_poll

    def close(self) -> None:
        """Close the loop, as asyncio does, and drop the hooks and the watches."""
        super().close()
        self._iteration_hooks = ()

    def add_iteration_hook(self, hook: IterationHook) -> None:
        """Call `hook.before_poll` and `hook.after_poll` once per loop iteration. Thread: loop."""
        self._iteration_hooks += (hook,)
        self._choose_poll()

    def remove_iteration_hook(self, hook: IterationHook) -> None:
        """Stop calling `hook`; idempotent. Thread: loop."""
        self._iteration_hooks = tuple(h for h in self._iteration_hooks if h is not hook)
        self._choose_poll()

    def set_debug(self, enabled: bool) -> None:
        """Enable or disable debug mode, as asyncio does."""
        super().set_debug(enabled)
        self._choose_poll()

    def _choose_poll(self) -> None:
        if self.is_closed():
            return
        hooks = self._iteration_hooks
        alone = len(hooks) == 1 and not self._debug
        self._selector.poll_instead = getattr(hooks[0], "poll", None) if alone else None

    def wake(self) -> None:
        """Make the loop begin an iteration, which calls the hooks. Thread: any.

        It costs a tenth of `call_soon_threadsafe`, which makes a Handle and writes to a socket. A
        hook that polls in the selector's place may do what is due itself, without an iteration.

        Raises:
            OSError: the loop is closed.
        """
        self._wake_poll()

    @property
    def wake_fd(self) -> int:
        """The eventfd that `wake` writes to, while the loop is open. Thread: loop."""
        return self._selector.wake_fd

    def shared_sockname(self, sockname: Any) -> Any:
        """Return `sockname`, or what the stream before has for it if that is equal. Thread: loop.

        The accepted streams of one listening socket have one local address, so they share it.
        """
        if sockname != self._last_sockname:
            self._last_sockname = sockname
        return self._last_sockname

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

    def _before_poll(self) -> bool:
        more = False
        timers = len(self._scheduled)
        for hook in self._iteration_hooks:
            more = hook.before_poll() or more
        # asyncio has computed the timeout of the poll by now, without timers that hooks have set.
        return more or bool(self._ready) or len(self._scheduled) != timers

    def _after_poll(self) -> None:
        for hook in self._iteration_hooks:
            hook.after_poll()

    def _process_events(self, polled: Events) -> None:
        # Called by `_run_once` between the poll and the timers. Nothing is dispatched here: events
        # are queued after the callbacks that are ready already, in the order of the poll.
        watches = self._batch._watches
        if self._debug:
            self._process_one_by_one(polled, watches)
            return
        if not polled:
            return
        selector = self._selector
        if selector.batch_watches and (handler := selector.only_handler(polled)) is not None:
            self._ready.append(HandledBatch(self, watches, selector, polled, handler))
            return
        for fd, _ in polled:
            if fd not in watches:
                self._process_mixed(polled, watches)
                return
        self._ready.append(self._batch_of(polled))

    def _batch_of(self, events: Events, handled: bool = False) -> ReadyBatch:
        batch = self._batch
        if handled:
            return HandledBatch(self, batch._watches, self._selector, events)
        if batch.events is not None:  # in `_ready` already
            batch = ReadyBatch(self, batch._watches)
        batch.events = events
        return batch

    def _process_mixed(self, polled: Events, watches: dict[int, Dispatch]) -> None:
        batch: Events = []
        handled, batch_watches = False, self._selector.batch_watches
        for event in polled:
            fd, events = event
            if fd in watches:
                batch.append(event)
            elif fd in batch_watches:
                batch.append(event)
                handled = True
            elif (stock := self._selector.registered(fd, events)) is not None:
                if batch:
                    self._ready.append(self._batch_of(batch, handled))
                    batch, handled = [], False
                super()._process_events([stock])  # type: ignore[misc]
        if batch:
            self._ready.append(self._batch_of(batch, handled))

    def _process_one_by_one(self, polled: Events, watches: dict[int, Dispatch]) -> None:
        # One Handle per event, because asyncio times Handles and reports slow ones.
        for fd, events in polled:
            dispatch = watches.get(fd)
            if dispatch is not None:
                self.call_soon(self._dispatch_if_watched, fd, dispatch, events)
            elif fd in self._selector.batch_watches:
                self.call_soon(self._handle_if_watched, fd, events)
            elif (stock := self._selector.registered(fd, events)) is not None:
                super()._process_events([stock])  # type: ignore[misc]

    def _dispatch_if_watched(self, fd: int, polled_for: Dispatch, events: int) -> None:
        # `polled_for` is only for the report of a slow callback; a pause since the poll replaces
        # it.
        dispatch = self._selector.watches.get(fd)
        if dispatch is not None:
            dispatch(events)

    def _handle_if_watched(self, fd: int, events: int) -> None:
        handler = self._selector.batch_watches.get(fd)
        if handler is not None:
            handler.on_ready_batch([(fd, events)])

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


def _check_selector(selector: object) -> None:
    if selector is None:
        return
    if not isinstance(selector, WatchingSelector):
        raise LocalError(
            f"EpollEventLoop cannot use {selector!r}: its streams need a selector of "
            f"{WatchingSelector.__module__}.WatchingSelector; leave the argument out, or use "
            "asyncio.SelectorEventLoop for a selector of your own"
        )
    if selector.before_poll is not None:
        raise LocalError(
            f"{selector!r} serves another loop already; make one for each loop, or leave the "
            "argument out"
        )


def run(main: Coroutine[Any, Any, Result], *, debug: bool | None = None) -> Result:
    """Run `main` on a new `EpollEventLoop`, as `asyncio.run` does on asyncio's.

    Raises:
        RuntimeError: a loop is running in this thread.
    """
    if asyncio_events._get_running_loop() is not None:
        raise RuntimeError("asyncrev.run() cannot be called from a running event loop")
    with asyncio.Runner(debug=debug, loop_factory=EpollEventLoop) as runner:
        return runner.run(main)
