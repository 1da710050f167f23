"""Gives each accepted connection to a worker; while none has a place, nothing is accepted."""

import collections
import socket
from collections.abc import Callable, Sequence
from typing import Any

from asyncrev.supervisor.balance import Balance
from asyncrev.supervisor.handle import WorkerHandle

__all__ = ["HandOut"]


class HandOut:
    """Connections between accept and a worker. All methods: the loop's thread."""

    def __init__(
        self,
        places: Callable[[], Sequence[WorkerHandle | None]],
        set_open: Callable[[bool], object],
    ) -> None:
        """Prepare.

        Args:
            places: the present worker of each slot, or None.
            set_open: is called with whether there is a place for the next connection.
        """
        self._places = places
        self._set_open = set_open
        self._balance = Balance()
        self._waiting: collections.deque[tuple[socket.socket, Any]] = collections.deque()

    def accept(self, sock: socket.socket, address: Any) -> None:
        """Take a connection, and hand it to a worker as soon as one has a place."""
        self._waiting.append((sock, address))
        self.update()

    def take_back(self, connections: Sequence[tuple[socket.socket, Any]]) -> None:
        """Hand out connections that a worker was given and has not taken, before all others."""
        self._waiting.extendleft(reversed(connections))
        self.update()

    def update(self) -> None:
        """Hand out what waits, as far as there are places."""
        while self._waiting and self._hand_next(at_the_end=False):
            pass
        loads = self._loads(at_the_end=False)
        self._set_open(not self._waiting and any(load is not None for load in loads))

    def finish(self) -> int:
        """Hand out all that waits, beyond the limits of workers; return how many had to be closed.

        None has to be as long as there is a worker that serves.
        """
        while self._waiting and self._hand_next(at_the_end=True):
            pass
        left = len(self._waiting)
        while self._waiting:
            self._waiting.popleft()[0].close()
        return left

    def _hand_next(self, *, at_the_end: bool) -> bool:
        chosen = self._balance.choose(self._loads(at_the_end=at_the_end))
        worker = None if chosen is None else self._places()[chosen]
        if worker is None or not (worker.has_room or at_the_end):
            return False
        worker.hand(*self._waiting.popleft())
        return True

    def _loads(self, *, at_the_end: bool) -> list[int | None]:
        places = self._places()
        return [None if one is None else one.load(at_the_end=at_the_end) for one in places]
