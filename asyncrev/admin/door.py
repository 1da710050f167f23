"""Which peers of the admin endpoint have a place: those that ask before those that are silent.

A place is a socket and a task. When all are taken, the peer whose request has been waited for
longest makes room for the next one, so that probes and scrapers are answered beside any number of
peers that ask nothing, or only byte by byte. A request that is being answered keeps its place.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Sequence

from asyncrev.admin.http import Respond, converse
from asyncrev.admin.pace import Pace

__all__ = ["MOST_CONNECTIONS", "Door"]

logger = logging.getLogger("asyncrev")

MOST_CONNECTIONS = 64  # further ones wait in the accept queue

# Requests that are answered, which take about 0.3 ms each: a scraper, probes and people need a few
# per second.
ANSWERS_PER_S = 100.0
ANSWERS_AT_ONCE = 50

# Connections that are accepted, about 0.1 ms each. A burst as long as the accept queue is taken at
# once; of a flood that goes on, each peer has 64 ms for its request.
ACCEPTS_PER_S = 1000.0
ACCEPTS_AT_ONCE = 1024

LEAST_WAIT_S = 0.02  # that a peer has for its request, also in a burst

_ACCEPT_AGAIN_S = 0.5  # out of descriptors


class _Place:
    """One conversation's place; see `http.Place`. Thread: the endpoint's.

    Attributes:
        task: the conversation.
        since_s: since when its request has been waited for, on the loop's clock.
    """

    __slots__ = ("_door", "since_s", "task")

    def __init__(self, door: "Door", sock: socket.socket, respond: Respond) -> None:
        self._door = door
        self.since_s = 0.0
        self.task = asyncio.create_task(converse(sock, respond, self))

    def wait(self) -> None:
        """Have the place given away if another peer needs it, from now on."""
        self._door.note_waiting(self)

    async def begin(self) -> None:
        """Keep the place, and wait until another request may be answered."""
        await self._door.begin(self)


class Door:
    """Accepts connections, and gives them places. Thread: the endpoint's, within its loop."""

    def __init__(self, sockets: Sequence[socket.socket], respond: Respond) -> None:
        """Prepare to accept on `sockets`, non-blocking ones, which stay the caller's."""
        self._sockets = sockets
        self._respond = respond
        self._loop = asyncio.get_running_loop()
        self._places: dict[asyncio.Task[None], _Place] = {}
        # Those whose peers are waited for, the longest first: an ordered set.
        self._waiting: dict[_Place, None] = {}
        self._evicted: _Place | None = None  # it ends within the next iterations of the loop
        self._answers = Pace(ANSWERS_PER_S, ANSWERS_AT_ONCE)
        self._accepts = Pace(ACCEPTS_PER_S, ACCEPTS_AT_ONCE)
        self._is_open = self._is_closed = False
        self._again: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Accept from now on. Idempotent."""
        if self._is_open or self._is_closed or self._again is not None:
            return
        if len(self._places) < MOST_CONNECTIONS or self._waiting:
            self._is_open = True
            for sock in self._sockets:
                self._loop.add_reader(sock, self._accept, sock)

    async def close(self) -> None:
        """Accept no more, and end all conversations."""
        self._is_closed = True
        self._shut()
        if self._again is not None:
            self._again.cancel()
        tasks = list(self._places)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- for places --------------------------------------------------------------------------

    def note_waiting(self, place: _Place) -> None:
        """Note that a peer is waited for; one that is already has been for as long as before."""
        if place not in self._waiting:
            place.since_s = self._loop.time()
            self._waiting[place] = None
            self.open()

    async def begin(self, place: _Place) -> None:
        """Note that the request is there, and wait until another one may be answered."""
        self._waiting.pop(place, None)
        delay_s = self._answers.delay_s(self._loop.time())
        if delay_s:
            await asyncio.sleep(delay_s)

    # -- connections -------------------------------------------------------------------------

    def _accept(self, listening: socket.socket) -> None:
        if len(self._places) >= MOST_CONNECTIONS:
            self._make_room()
            return
        try:
            sock, _ = listening.accept()
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                self._pause(_ACCEPT_AGAIN_S)
            return  # else a peer that has gone
        sock.setblocking(False)
        place = _Place(self, sock, self._respond)
        self._places[place.task] = place
        place.task.add_done_callback(self._end)
        delay_s = self._accepts.delay_s(self._loop.time())
        if delay_s:
            self._pause(delay_s)

    def _make_room(self) -> None:
        """End the conversation whose request has been waited for longest, if it had its time."""
        if self._evicted is not None:
            return
        longest = next(iter(self._waiting), None)
        if longest is None:  # all are being answered
            self._shut()
            return
        left_s = longest.since_s + LEAST_WAIT_S - self._loop.time()
        if left_s > 0:
            self._pause(left_s)
            return
        self._evicted = longest
        longest.task.cancel()

    def _end(self, task: asyncio.Task[None]) -> None:
        place = self._places.pop(task)
        self._waiting.pop(place, None)
        if place is self._evicted:
            self._evicted = None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("admin endpoint: a connection failed: %r", error)
        self.open()

    def _pause(self, delay_s: float) -> None:
        self._shut()
        self._again = self._loop.call_later(delay_s, self._open_again)

    def _open_again(self) -> None:
        self._again = None
        self.open()

    def _shut(self) -> None:
        if self._is_open:
            self._is_open = False
            for sock in self._sockets:
                self._loop.remove_reader(sock)
