"""The epoll selector of `EpollEventLoop`: asyncio's, with a shorter path for our transports."""

import contextlib
import errno
import math
import os
import select
import selectors
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

__all__ = [
    "HUNG_UP",
    "READABLE",
    "SELECTOR_BASE",
    "WRITABLE",
    "BatchHandler",
    "Dispatch",
    "Events",
    "WatchingSelector",
]

# Missing on platforms without epoll, where `EpollEventLoop` raises an error.
SELECTOR_BASE: Any = getattr(selectors, "EpollSelector", selectors.SelectSelector)
READABLE: int = getattr(select, "EPOLLIN", 0)
WRITABLE: int = getattr(select, "EPOLLOUT", 0)
HUNG_UP: int = getattr(select, "EPOLLHUP", 0) | getattr(select, "EPOLLERR", 0)
_EDGE: int = getattr(select, "EPOLLET", 0)

# Per `select`. With 10,000 ready descriptors a loop iteration stays short, and it publishes at most
# half of the default ring; epoll returns the other descriptors first the next time.
MOST_EVENTS = 128

_FULL = 2**64 - 2  # the largest value of an eventfd (eventfd(2))

Dispatch: TypeAlias = Callable[[int], None]


Events: TypeAlias = list[tuple[int, int]]  # (descriptor, epoll's events), in the order of the poll


class BatchHandler(Protocol):
    """Handles the events of many descriptors in one call (`EpollEventLoop.watch_in_batches`)."""

    def on_ready_batch(self, events: Events) -> None:
        """Handle the events of descriptors that one poll found ready. Thread: loop.

        Order: a batch contains, in the order of the poll, all events of this handler's descriptors
        up to the next event of any other descriptor, which is dispatched before the next batch is
        made. So callbacks run in the same order as with one Handle per event. In debug mode each
        batch has one event, because asyncio times its callbacks one by one.

        A descriptor that was unwatched before this call is not in the batch. One that the handler
        unwatches during the call may still follow in it: the handler has to skip it.

        Args:
            events: one to 128 pairs of a descriptor and epoll's events of it. They may include
                `HUNG_UP`, whatever events are watched. The list is the handler's.

        Raises:
            Exception: reported to the loop's exception handler; the events after this batch are
                dispatched. The rest of this batch is not passed again, but epoll is
                level-triggered, so the next poll reports what is still ready. SystemExit and
                KeyboardInterrupt end the run of the loop; its next run begins with the events
                after this batch.
        """
        ...


class WatchingSelector(SELECTOR_BASE):  # type: ignore[misc]  # the base depends on the platform
    """EpollSelector that also serves watches, which are not in `get_map`.

    A watch is a descriptor and a function that is called with the events that epoll reports. It may
    be for no event at all, which asyncio's registrations cannot be; hang-ups and errors are always
    reported. All methods except `wake`: the loop's thread.
    """

    def __init__(self) -> None:
        super().__init__()
        # Written by the methods here, read by the loop. A descriptor is in at most one of them.
        self.watches: dict[int, Dispatch] = {}
        self.batch_watches: dict[int, BatchHandler] = {}
        self.changes = 0  # how often a descriptor has left its place in one of them
        # Called before and after every poll. The first returns whether the poll must not wait.
        self.before_poll: Callable[[], bool] | None = None
        self.after_poll: Callable[[], None] | None = None
        # Polls in the place of this selector, unless it returns None; see `IterationHook.poll`.
        self.poll_instead: Callable[[int, int, float], Events | None] | None = None
        # Edge-triggered, so that a wake-up costs one write and no read; the counter would be full
        # only after 2**64 - 2 wake-ups.
        self._wake_lock = threading.Lock()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wake_fd, READABLE | _EDGE)

    @property
    def wake_fd(self) -> int:
        """The eventfd that `wake` writes to, or a negative number once it is closed.

        Who has a duplicate of it learns of the close: its counter is full then, so that a write
        raises BlockingIOError.
        """
        return self._wake_fd

    def wake(self) -> None:
        """Make the current or the next `select` return. Thread: any.

        Raises:
            OSError: the selector is closed.
        """
        with self._wake_lock:  # after `close` the number may belong to another file
            if self._wake_fd < 0:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            os.eventfd_write(self._wake_fd, 1)

    def close(self) -> None:
        """Close the descriptors of epoll and of the wake-up, and drop the watches and hooks."""
        super().close()
        self.watches.clear()
        self.batch_watches.clear()
        self.before_poll = self.after_poll = self.poll_instead = None
        with self._wake_lock:
            fd, self._wake_fd = self._wake_fd, -1
        if fd >= 0:
            _fill(fd)
            os.close(fd)

    def watch(self, fd: int, events: int, dispatch: Dispatch) -> None:
        """Start watching `fd`, which is not registered otherwise. Raises OSError as epoll does."""
        self._selector.register(fd, events)
        self.watches[fd] = dispatch
        if self.batch_watches.pop(fd, None):  # the descriptor was closed while it was watched
            self.changes += 1

    def watch_in_batches(self, fd: int, events: int, handler: BatchHandler) -> None:
        """Start watching `fd`; `handler` gets its events together with those of others.

        Raises OSError as epoll does.
        """
        self._selector.register(fd, events)
        self.batch_watches[fd] = handler
        self.watches.pop(fd, None)
        self.changes += 1

    def rewatch(self, fd: int, events: int) -> None:
        """Change the events that `fd` is watched for."""
        self._selector.modify(fd, events)

    def redirect(self, fd: int, dispatch: Dispatch) -> None:
        """Call `dispatch` for the events of `fd`, which is watched."""
        self.watches[fd] = dispatch
        if self.batch_watches.pop(fd, None) is not None:
            self.changes += 1

    def redirect_to_batches(self, fd: int, handler: BatchHandler) -> None:
        """Have `handler` get the events of `fd`, which is watched, with those of others."""
        self.batch_watches[fd] = handler
        self.watches.pop(fd, None)

    def unwatch(self, fd: int) -> None:
        """Stop watching `fd`; its events that were already polled are not dispatched."""
        self.changes += 1
        if self.watches.pop(fd, None) or self.batch_watches.pop(fd, None):
            try:
                self._selector.unregister(fd)
            except OSError:
                pass  # the descriptor was closed meanwhile, which removed it from epoll

    def select(self, timeout: float | None = None) -> list[tuple[int, int]]:
        """Poll; return (descriptor, epoll's events) of watches and of asyncio's registrations.

        Other selectors return keys and masks; `EpollEventLoop._process_events` separates the two
        kinds, which saves a pass over the list.
        """
        if self.before_poll is not None and self.before_poll():
            timeout = 0
        if timeout is None:
            timeout_s = -1.0
        else:
            # epoll_wait counts milliseconds; rounding down would poll repeatedly until a timer is
            # due.
            timeout_s = math.ceil(max(timeout, 0) * 1e3) * 1e-3
        polled: Events | None = None
        if self.poll_instead is not None:
            polled = self.poll_instead(self._selector.fileno(), self._wake_fd, timeout_s)
        if polled is None:
            try:
                polled = self._selector.poll(timeout_s, MOST_EVENTS)
            except InterruptedError:
                polled = []
        if self.after_poll is not None:
            self.after_poll()
        if len(polled) == 1 and polled[0][0] == self._wake_fd:
            return []  # the wake-up itself is not an event
        return polled

    def only_handler(self, polled: Events) -> BatchHandler | None:
        """Return the handler that all events belong to, if there is one; drop the wake-up."""
        handler_of = self.batch_watches.get
        # The wake-up is nobody's, and there is one at most.
        handler = handler_of(polled[0][0]) or handler_of(polled[-1][0])
        if handler is None:
            return None
        woken = None
        for event in polled:
            if handler_of(event[0]) is not handler:
                if event[0] != self._wake_fd:
                    return None
                woken = event
        if woken is not None:
            polled.remove(woken)
        return handler

    def registered(self, fd: int, events: int) -> tuple[selectors.SelectorKey, int] | None:
        """Return asyncio's key and mask for epoll's events; None if `fd` is not registered.

        An error or a hang-up counts as readable and writable, as in `selectors`.
        """
        key = self._fd_to_key.get(fd)
        if key is None:
            return None
        mask = (selectors.EVENT_WRITE if events & ~READABLE else 0) | (
            selectors.EVENT_READ if events & ~WRITABLE else 0
        )
        return key, mask & key.events


def _fill(fd: int) -> None:
    """Make every later write to the eventfd fail. Others may write to it meanwhile."""
    while True:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(fd)  # sets the counter to 0
        with contextlib.suppress(BlockingIOError):  # somebody has written in between
            os.eventfd_write(fd, _FULL)
            return
