"""The iterations of the event loop: hooks around every poll, and what becomes of polled events."""

import asyncio
import collections
import selectors
from typing import Any, Protocol

from asyncrev.errors import LocalError
from asyncrev.loop.ready_batches import HandledBatch, ReadyBatch
from asyncrev.loop.selector import Dispatch, Events, WatchingSelector

__all__ = ["IterationHook", "IterationLoop"]


class IterationHook(Protocol):
    """Calls around every poll, once per loop iteration; both are short and do not raise.

    A hook may have an attribute `poll`, a function that polls in the place of the loop's selector,
    while it is the only hook, and not in debug mode. It gets the loop's epoll, the eventfd of
    `EpollEventLoop.wake`, whose events are nobody's, and how many seconds to wait, for ever if that
    is below 0. It may do what its `BatchHandler` would do about events, before anything is done
    about those of others, and poll again then, until the timeout. It returns the events that are
    left of the last poll, those of others in its order, or None if the selector is to poll.
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


class IterationLoop(asyncio.SelectorEventLoop):
    """`EpollEventLoop` without its transports. All methods but `wake`: the loop's thread."""

    _selector: WatchingSelector
    # Of BaseEventLoop.
    _debug: bool
    _ready: collections.deque[Any]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, selector: WatchingSelector | None = None) -> None:
        """Make a loop; see `EpollEventLoop`."""
        self._closed = True  # until the loop is made, so that __del__ does not close it
        if not hasattr(selectors, "EpollSelector"):
            raise LocalError(
                "EpollEventLoop needs epoll, which only Linux has; use asyncio's or uvloop's loop"
            )
        _check_selector(selector)
        self._iteration_hooks: tuple[IterationHook, ...] = ()
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
