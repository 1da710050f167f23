"""What a server listens on: its listeners as one, opened together and closed whatever fails."""

import collections
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any

from asyncrev.cleanup import attempt
from asyncrev.errors import LocalError, SettingsError
from asyncrev.server.listen_sockets import open_tcp
from asyncrev.server.listener import ACCEPTS_PER_ITERATION, Listener
from asyncrev.server.unix_path import UnixPath

__all__ = ["Listeners"]

logger = logging.getLogger("asyncrev")


class Listeners:
    """The listening sockets of one server. All methods: the loop's thread."""

    def __init__(
        self,
        on_accept: Callable[[socket.socket, Any], None],
        *,
        backlog: int,
        retry_s: float,
        most_accepts: int = ACCEPTS_PER_ITERATION,
    ) -> None:
        """Prepare to call `on_accept(non-blocking socket, peer's address)`.

        Args:
            on_accept: takes each connection.
            backlog: length of the kernel's accept queue.
            retry_s: pause of accepting after the process ran out of descriptors or memory.
            most_accepts: connections that a socket accepts per loop iteration.
        """
        self._on_accept = on_accept
        self._backlog = backlog
        self._retry_s = retry_s
        self._most_accepts = most_accepts
        self._sockets: list[socket.socket] = []
        self._listeners: list[Listener] = []
        self._path: UnixPath | None = None
        self._leaves_queue = False
        self._wanted = False

    async def open(
        self,
        host: str | None,
        port: int,
        *,
        uds: str | None,
        uds_mode: int,
        sock: socket.socket | Sequence[socket.socket] | None,
        leave_queue: bool = False,
    ) -> None:
        """Listen, without accepting yet; see `Server.start`. After an error call `close`.

        Raises:
            SettingsError: `uds` and `sock` are both given, one of the values is out of range, or
                `sock` is no socket, or several that are none.
            LocalError: `uds` is somebody else's.
            OSError: an address cannot be bound.
        """
        if sock is not None and uds is not None:
            raise SettingsError(f"uds is {uds!r} and sock is given, too; leave out one of the two")
        if sock is not None:
            self._sockets = _as_sockets(sock)
            self._leaves_queue = leave_queue
            for one in self._sockets:
                one.setblocking(False)
        elif uds is not None:
            self._path = UnixPath(uds, uds_mode)
            self._sockets = [await self._path.open(self._backlog)]
        else:
            self._sockets = await open_tcp(host, port, self._backlog)

    def start(self) -> None:
        """Accept from now on."""
        self._wanted = True
        for sock in self._sockets:
            listener = Listener(
                sock, self._on_accept, retry_s=self._retry_s, most_accepts=self._most_accepts
            )
            self._listeners.append(listener)
            listener.resume()

    def pause(self) -> None:
        """Accept no more; the kernel's backlog keeps what comes."""
        self._wanted = False
        for listener in self._listeners:
            listener.pause()

    def resume(self) -> None:
        """Accept again."""
        self._wanted = True
        for listener in self._listeners:
            listener.resume()

    async def close(self, *, accept_queued: bool = False) -> None:
        """Listen no more; with `accept_queued` what the kernel has completed is accepted first.

        Not so on sockets that were given with `leave_queue`: somebody else has them, too, and goes
        on listening, so who is queued waits for the next process.

        Each step is tried whatever the others do, and one that fails is logged: the right to
        remove the UNIX path may be gone, for one, after privileges were dropped. Idempotent.
        """
        try:
            await self._remove_path()  # first, while no other server can have taken it over
        finally:
            self._wanted = False
            for listener in self._listeners:
                if accept_queued and not self._leaves_queue:
                    attempt("accept what is queued", listener.accept_queued)
                attempt("stop a listener", listener.close)
            for sock in self._sockets:
                attempt("close a listening socket", sock.close)

    async def _remove_path(self) -> None:
        path = self._path
        if path is None:
            return
        try:
            await path.remove()
        except (LocalError, OSError) as error:
            self._path = None  # tried and told once; a drain is followed by a close
            logger.warning(
                "cannot remove the socket %r, which the next server at this path does: %s",
                path.path,
                error.strerror if isinstance(error, OSError) else error,
            )

    @property
    def addresses(self) -> list[Any]:
        """What it listens on, as `socket.getsockname` tells it, so the real port for port 0."""
        return [li.sock.getsockname() for li in self._listeners if li.sock.fileno() >= 0]

    @property
    def errors(self) -> int:
        """How many accepts failed so far."""
        return sum(listener.errors for listener in self._listeners)

    @property
    def errors_by_name(self) -> dict[str, int]:
        """How many accepts failed so far, by the name of the error, such as EMFILE."""
        counters = [listener.errors_by_name for listener in self._listeners]
        return dict(sum(counters, collections.Counter()))

    @property
    def accepting(self) -> bool:
        """Whether one of them accepts the next connection when it comes.

        Without listening sockets: whether connections are wanted.
        """
        if not self._sockets:
            return self._wanted
        return any(listener.accepting for listener in self._listeners)


def _as_sockets(sock: socket.socket | Sequence[socket.socket]) -> list[socket.socket]:
    sockets = [sock] if isinstance(sock, socket.socket) else list(sock)
    if not all(isinstance(one, socket.socket) for one in sockets):
        raise SettingsError(f"sock is {sock!r}; it must be a listening socket, or several, or ()")
    return sockets
