"""Accepts connections: a bounded number per iteration, up to a limit, as descriptors allow."""

import asyncio
import collections
import errno
import logging
import socket
from collections.abc import Callable
from typing import Any

__all__ = ["ACCEPTS_PER_ITERATION", "TLS_ACCEPTS_PER_ITERATION", "Listener"]

logger = logging.getLogger("asyncrev")

# 16 accepts take about 1 ms, with what follows each until it is read. Over TLS a connection costs
# ten times as much, so fewer at a time are hardly dearer, and who is established waits for less.
ACCEPTS_PER_ITERATION = 16
TLS_ACCEPTS_PER_ITERATION = 2

# A peer that gave up while it was queued, and pending errors of its network: the next one may be
# fine (accept(2), "Error handling").
_PEER_ERRORS = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPROTO,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENONET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
    }
)


class Listener:
    """One listening socket. All methods: the loop's thread.

    asyncio's own accepting cannot be paused on every loop and, out of descriptors, reschedules
    itself many times over (github.com/python/cpython/issues/151615).
    """

    def __init__(
        self,
        sock: socket.socket,
        on_accept: Callable[[socket.socket, Any], None],
        *,
        retry_s: float,
        most_accepts: int = ACCEPTS_PER_ITERATION,
    ) -> None:
        """Prepare to call `on_accept(non-blocking socket, peer's address)`.

        `most_accepts`: connections accepted per loop iteration.
        """
        self.sock = sock
        self._most_accepts = most_accepts
        self.errors = 0
        self.errors_by_name: collections.Counter[str] = collections.Counter()
        self._on_accept = on_accept
        self._fd = sock.fileno()  # the loop knows the socket by it, even if its owner closes it
        self._retry_s = retry_s
        self._loop = asyncio.get_running_loop()
        self._wanted = False
        self._armed = False
        self._retry: asyncio.TimerHandle | None = None
        self._next_log_s = 0.0

    @property
    def accepting(self) -> bool:
        """Whether the next connection is accepted when it comes."""
        return self._armed

    def resume(self) -> None:
        """Accept from now on; a pause for lack of descriptors is kept."""
        self._wanted = True
        if not self._armed and self._retry is None and self.sock.fileno() >= 0:
            self._armed = True
            self._loop.add_reader(self._fd, self._accept_some)

    def pause(self) -> None:
        """Accept no more; the kernel's backlog keeps what comes."""
        self._wanted = False
        self._disarm()

    def accept_queued(self) -> None:
        """Accept what the kernel has completed by now, as far as descriptors allow."""
        if self.sock.fileno() >= 0:
            while self._accept_one():
                pass

    def close(self) -> None:
        """Close the socket, also if the loop cannot let go of it; idempotent."""
        try:
            self.pause()
        finally:
            if self._retry is not None:
                self._retry.cancel()
                self._retry = None
            self.sock.close()

    def _disarm(self) -> None:
        if self._armed:
            self._armed = False
            self._loop.remove_reader(self._fd)

    def _accept_some(self) -> None:
        for _ in range(self._most_accepts):
            if not (self._armed and self._accept_one()):
                return

    def _accept_one(self) -> bool:
        """Accept one connection; return whether there may be another."""
        try:
            accepted, address = self.sock.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self.errors += 1
            self.errors_by_name[errno.errorcode.get(error.errno or 0, "unknown")] += 1
            if error.errno in _PEER_ERRORS:
                return True
            self._back_off(error)  # out of descriptors or memory, or nothing that we know
            return False
        accepted.setblocking(False)
        self._on_accept(accepted, address)
        return True

    def _back_off(self, error: OSError) -> None:
        self._disarm()
        if self._retry is None:
            self._retry = self._loop.call_later(self._retry_s, self._try_again)
        now_s = self._loop.time()
        if now_s >= self._next_log_s:
            self._next_log_s = now_s + 1.0
            logger.error(
                "cannot accept: %s; existing connections are served, next try in %g s "
                "(%d failures so far)",
                error,
                self._retry_s,
                self.errors,
            )

    def _try_again(self) -> None:
        self._retry = None
        if self._wanted:
            self.resume()
