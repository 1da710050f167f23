"""The epoll selector of `EpollEventLoop`: asyncio's own, and a shorter way for our transports."""

import errno
import math
import os
import select
import selectors
import threading
from array import array
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

__all__ = [
    "HUNG_UP",
    "READABLE",
    "SELECTOR_BASE",
    "WRITABLE",
    "BatchHandler",
    "BatchWatch",
    "Dispatch",
    "WatchingSelector",
]

# Missing where there is no epoll; `EpollEventLoop` says so in words.
SELECTOR_BASE: Any = getattr(selectors, "EpollSelector", selectors.SelectSelector)
READABLE: int = getattr(select, "EPOLLIN", 0)
WRITABLE: int = getattr(select, "EPOLLOUT", 0)
HUNG_UP: int = getattr(select, "EPOLLHUP", 0) | getattr(select, "EPOLLERR", 0)
_EDGE: int = getattr(select, "EPOLLET", 0)

# Of one `select`. A turn of the loop stays short with 10,000 ready descriptors, and what one turn
# publishes is half of the default ring; epoll gives the others first the next time.
MOST_EVENTS = 128

Dispatch: TypeAlias = Callable[[int], None]


class BatchHandler(Protocol):
    """Takes the events of many descriptors in one call; see `EpollEventLoop.watch_in_batches`."""

    def on_ready_batch(self, keys: "array[int]", events: "array[int]") -> None:
        """Work on the events of descriptors that one poll found ready. Thread: loop.

        Order: a batch has, in the order of the poll, all events of this handler's descriptors up
        to the next event of another descriptor, which is dispatched before the next batch is made.
        So callbacks run in the order in which a Handle for each event would. In debug mode each
        batch has one event, because asyncio times its callbacks one by one.

        A descriptor that was unwatched before this call is not in the batch. One that the handler
        unwatches during the call still is: the handler has to skip it.

        Args:
            keys: what `watch_in_batches` got for each descriptor; format "q", one to 128 items.
            events: epoll's events of the descriptor whose key is at the same place, format "I";
                `HUNG_UP` may be among them whatever was asked for. Both arrays are made for this
                call and may be kept.

        Raises:
            Exception: is reported to the loop's exception handler, and the events of the others
                are dispatched. The rest of this batch is not given again, but epoll, which is
                level-triggered, reports what is still ready at the next poll. SystemExit and
                KeyboardInterrupt end the run of the loop; the others come first in the next run.
        """
        ...


BatchWatch: TypeAlias = tuple[BatchHandler, int]  # and the key of the descriptor


class WatchingSelector(SELECTOR_BASE):  # type: ignore[misc]  # its base depends on the platform
    """EpollSelector that also serves watches, which are not in `get_map`.

    A watch is a descriptor and a function that is called with the events epoll reported. It can
    ask for no event at all (hang-up and error are always reported), which asyncio's cannot.
    """

    def __init__(self) -> None:
        super().__init__()
        # Written by the methods here only; read by the loop, too. A descriptor is in one of them.
        self.watches: dict[int, Dispatch] = {}
        self.batch_watches: dict[int, BatchWatch] = {}
        # Called at the start and the end of every `select`. The first returns whether there is
        # something to do at once.
        self.before_poll: Callable[[], bool] | None = None
        self.after_poll: Callable[[], None] | None = None
        # Edge-triggered, so that a wake-up costs one write and nobody has to read it away; the
        # counter is full after 2**64 - 2 of them.
        self._wake_lock = threading.Lock()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wake_fd, READABLE | _EDGE)

    def wake(self) -> None:
        """Make the `select` that runs, or else the next, return. Thread: any.

        Raises:
            OSError: the selector is closed.
        """
        with self._wake_lock:  # the number may be somebody else's once it is closed
            if self._wake_fd < 0:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            os.eventfd_write(self._wake_fd, 1)

    def close(self) -> None:
        """Close the epoll descriptor and the wake-up's, and let go of watches and hooks."""
        super().close()
        self.watches.clear()
        self.batch_watches.clear()
        self.before_poll = self.after_poll = None
        with self._wake_lock:
            fd, self._wake_fd = self._wake_fd, -1
        if fd >= 0:
            os.close(fd)

    def watch(self, fd: int, events: int, dispatch: Dispatch) -> None:
        """Begin to watch `fd`, which no one else has registered. Raises OSError as epoll does."""
        self._selector.register(fd, events)
        self.watches[fd] = dispatch
        self.batch_watches.pop(fd, None)  # of a descriptor that was closed while it was watched

    def watch_in_batches(self, fd: int, events: int, handler: BatchHandler, key: int) -> None:
        """Begin to watch `fd`, whose events `handler` gets with those of other descriptors.

        Raises OSError as epoll does.
        """
        self._selector.register(fd, events)
        self.batch_watches[fd] = (handler, key)
        self.watches.pop(fd, None)

    def rewatch(self, fd: int, events: int) -> None:
        """Watch `fd` for other events from now on."""
        self._selector.modify(fd, events)

    def redirect(self, fd: int, dispatch: Dispatch) -> None:
        """Call `dispatch` for the events of `fd`, which is watched, from now on."""
        self.watches[fd] = dispatch

    def unwatch(self, fd: int) -> None:
        """Watch `fd` no more; events of it that were polled already are not dispatched."""
        watches = self.watches if fd in self.watches else self.batch_watches
        if watches.pop(fd, None) is not None:
            try:
                self._selector.unregister(fd)
            except OSError:
                pass  # somebody closed the descriptor under us; epoll forgot it then

    def select(self, timeout: float | None = None) -> list[tuple[int, int]]:
        """Poll; return (descriptor, epoll's events) of watches and of asyncio's own alike.

        Not what other selectors return: `EpollEventLoop._process_events` sorts them out, which
        saves a pass over the list.
        """
        if self.before_poll is not None and self.before_poll():
            timeout = 0
        if timeout is None:
            timeout_s = -1.0
        else:
            # epoll_wait counts milliseconds; rounded up, or a timer would be polled for.
            timeout_s = math.ceil(max(timeout, 0) * 1e3) * 1e-3
        try:
            polled: list[tuple[int, int]] = self._selector.poll(timeout_s, MOST_EVENTS)
        except InterruptedError:
            polled = []
        if self.after_poll is not None:
            self.after_poll()
        if len(polled) == 1 and polled[0][0] == self._wake_fd:
            return []  # nobody has to hear of it
        return polled

    def registered(self, fd: int, events: int) -> tuple[selectors.SelectorKey, int] | None:
        """Return asyncio's key and mask for epoll's events, or None for a descriptor not its own.

        An error or a hang-up is readable and writable, as in `selectors`.
        """
        key = self._fd_to_key.get(fd)
        if key is None:
            return None
        mask = (selectors.EVENT_WRITE if events & ~READABLE else 0) | (
            selectors.EVENT_READ if events & ~WRITABLE else 0
        )
        return key, mask & key.events
