"""Wake-ups between the two threads: one for many entries, and none lost.

Theory of operation. In each direction both threads must agree whether the other one still has to be
woken. If each read the state before the other had written it, a wake-up would be lost. A processor
may reorder a store and a later load of something else, which a free-threaded build does not
prevent; so both threads decide under one lock.

  I5  towards the worker: publish, THEN look at `parked`; park, THEN look for work
  I6  towards the loop: clear `awaited`, THEN read the cursor; move the cursor, THEN set it
  I7  a superfluous wake-up is allowed, a lost one is not

An uncontended lock takes 40 ns, waking a sleeping thread 20 to 200 us, so wake-ups are avoided and
locks are not. Neither class uses the ring or asyncio.
"""

import os
import select
import threading
from collections.abc import Callable

__all__ = ["DeliverySignal", "Parker"]


class Parker:
    """Lets the worker sleep, and wakes it."""

    __slots__ = ("_fd", "_lock", "_parked", "_poll", "backstop_wakes", "unparks")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parked = False  # guarded by _lock
        # An eventfd rather than a lock: writing to it releases the GIL, so the worker starts while
        # the loop is still in the system call (docs/decisions/0001-wakeups.md). It is written at
        # most once per sleep, because `unpark` first resets `_parked`.
        self._fd = os.eventfd(0, os.EFD_CLOEXEC)
        # Edge-triggered, so that it need not be read: in that system call the loop would get the
        # GIL before the worker has begun.
        self._poll = select.epoll()
        self._poll.register(self._fd, select.EPOLLIN | select.EPOLLET)
        self.unparks = 0  # writer: the thread that unparks, under _lock; reader: any
        self.backstop_wakes = 0  # writer: worker; reader: any

    def __del__(self) -> None:
        os.close(self._fd)

    @property
    def parked(self) -> bool:
        """Whether the worker sleeps or is about to, for tests. Thread: any."""
        return self._parked

    def unpark(self) -> bool:
        """Wake the worker if it sleeps or is about to; return whether it had to be woken.

        Thread: any. The caller must first write what the worker is to see (I5).
        """
        try:
            with self._lock:
                wake = self._parked
                self._parked = False
                self.unparks += wake
            if wake:
                os.eventfd_write(self._fd, 1)
        except BaseException:  # of a signal handler, maybe while the worker waits for this (I7)
            os.eventfd_write(self._fd, 1)
            raise
        return wake

    def park(self, has_work: Callable[[], bool], timeout_s: float) -> bool:
        """Sleep until woken or for `timeout_s`; return at once if there is work.

        Thread: worker. Returns whether there is work now. A sleep that times out although there is
        work is counted in `backstop_wakes`. By I5 this happens only if work is published just then
        and its `unpark` is about to follow.
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
            self._poll.poll(-1, 1)  # `unpark` came at the last moment; consume its wake-up
        return has_work()


class DeliverySignal:
    """Requests one delivery from the loop, however many results there are."""

    __slots__ = ("_lock", "_post", "awaited", "requests")

    def __init__(self, post: Callable[[], object]) -> None:
        """Request deliveries by calling `post`, on any thread; it must not block."""
        self._post = post
        self._lock = threading.Lock()
        # Whether a delivery will come without a request. Written under _lock by both threads; the
        # worker may read it without the lock if it requests under the lock before it sleeps.
        self.awaited = False
        self.requests = 0  # writer: worker, under _lock; reader: any

    def wake_by(self, fd: int) -> None:
        """Have requests write to the eventfd `fd` instead, which the loop polls. Thread: loop.

        A negative number takes that back. Only the native class does so; this one always calls
        `post`, which does the same under the loop's lock.
        """

    def request(self) -> bool:
        """Request a delivery unless one will come anyway; return whether one was requested.

        Thread: worker. The caller must first move its cursor (I6). Raises what `post` raises; the
        delivery then counts as not requested.
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
        """Note that a delivery begins. Thread: loop, before it reads the worker's cursor (I6)."""
        with self._lock:
            self.awaited = False

    def hold(self) -> None:
        """Note that a delivery will come anyway, because the loop is awake. Thread: loop."""
        if not self.awaited:  # only this thread resets it
            with self._lock:
                self.awaited = True
