"""How one thread wakes the other: once for many entries, and never too rarely.

Theory of operation. Each direction has one question that both threads must answer the same way,
"does somebody still have to be woken?", and a race in which each looks before the other has
written would lose a wake-up. A store followed by a load of something else may be reordered
by the processor, and a free-threaded build does not forbid it; so both sides ask under one lock.

  I5  towards the worker: publish, THEN look at `parked`; park, THEN look for work
  I6  towards the loop: clear `awaited`, THEN read the cursor; move the cursor, THEN set it
  I7  a wake-up too many is allowed, one too few is not

Measured: an uncontended lock costs 40 ns, a wake-up of a sleeping thread 20 to 200 us, so the
locks are taken freely and wake-ups are not. Neither class knows the ring or asyncio.
"""

import os
import select
import threading
from collections.abc import Callable

__all__ = ["DeliverySignal", "Parker"]


class Parker:
    """Where the worker sleeps, and the bell that wakes it."""

    __slots__ = ("_fd", "_lock", "_parked", "_poll", "backstop_wakes", "unparks")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parked = False  # guarded by _lock
        # An eventfd rather than a lock: writing to it gives the GIL away, so the worker starts
        # while the loop is still in the system call (docs/decisions/0001-wakeups.md). It is
        # written at most once a sleep, because whoever writes has first taken `_parked` back.
        self._fd = os.eventfd(0, os.EFD_CLOEXEC)
        # Edge-triggered, so that nobody has to read it: a system call in which the GIL goes to
        # the loop before the worker has begun.
        self._poll = select.epoll()
        self._poll.register(self._fd, select.EPOLLIN | select.EPOLLET)
        self.unparks = 0  # writer: whoever unparks, under _lock; reader: any
        self.backstop_wakes = 0  # writer: worker; reader: any

    def __del__(self) -> None:
        os.close(self._fd)

    def unpark(self) -> bool:
        """Wake the worker if it sleeps or is about to; return whether it had to be woken.

        Thread: any. The caller has written what the worker must see before it calls (I5).
        """
        with self._lock:
            wake = self._parked
            self._parked = False
            self.unparks += wake
        if wake:
            os.eventfd_write(self._fd, 1)
        return wake

    def park(self, has_work: Callable[[], bool], timeout_s: float) -> bool:
        """Sleep until woken or for `timeout_s`; return at once if there is work.

        Thread: worker. Returns whether there is work now. A sleep that ends by its timeout
        although there is work is counted in `backstop_wakes`. I5 says that it never happens, but
        for work that comes in just that moment and whose unpark is on its way.
        """
        with self._lock:
            if has_work():  # ORDER: under the lock that `unpark` takes after its caller's store.
                return True
            self._parked = True
        if not self._poll.poll(timeout_s, 1):
            with self._lock:
                timed_out = self._parked
                self._parked = False
            if timed_out:
                if not has_work():
                    return False
                self.backstop_wakes += 1
                return True
            self._poll.poll(-1, 1)  # unpark came at the last moment; its wake-up is on the way
        return has_work()


class DeliverySignal:
    """Asks the loop for one delivery, however many results there are."""

    __slots__ = ("_lock", "_post", "awaited", "requests")

    def __init__(self, post: Callable[[], object]) -> None:
        """Ask by calling `post`, which may be called on any thread and must not block."""
        self._post = post
        self._lock = threading.Lock()
        # Whether a delivery will come without being asked for. Written under _lock by both threads;
        # the worker may peek at it without, if it asks under the lock before it sleeps.
        self.awaited = False
        self.requests = 0  # writer: worker, under _lock; reader: any

    def request(self) -> bool:
        """Ask for a delivery unless one will come; return whether it had to be asked for.

        Thread: worker. The caller has moved its cursor before it calls (I6). Raises what `post`
        raises; the delivery then counts as not asked for.
        """
        with self._lock:
            if self.awaited:
                return False
            self.awaited = True
            self.requests += 1
        try:
            self._post()
        except BaseException:
            self.clear()
            raise
        return True

    def clear(self) -> None:
        """Say that a delivery begins. Thread: loop, before it reads the worker's cursor (I6)."""
        with self._lock:
            self.awaited = False

    def hold(self) -> None:
        """Say that a delivery will come anyway, because the loop is awake. Thread: loop."""
        with self._lock:
            self.awaited = True
