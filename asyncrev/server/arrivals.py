"""Arrivals: what an accepted socket goes through until it is a connection."""

import asyncio
import contextlib
import functools
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from asyncrev.connection.ends import log_fault
from asyncrev.connection.first_look import FirstLook
from asyncrev.connection.socket_probe import reset_socket_on_close
from asyncrev.connection_info import ProxyInfo
from asyncrev.errors import RemoteError, TooManyFromAddress
from asyncrev.log_text import name_of_peer
from asyncrev.loop_errors import report_to_loop
from asyncrev.server.connections import Connections
from asyncrev.server.handshake_entrance import HandshakeEntrance, HandshakeGates
from asyncrev.server.peer_limits import PeerLimits, PeerPlace
from asyncrev.server.server_connection import ServerConnection

if TYPE_CHECKING:  # imported with what it needs by servers that read PROXY headers
    from asyncrev.server.proxy_reader import ProxyReader

__all__ = ["Arrivals"]

logger = logging.getLogger("asyncrev")

MakeConnection = Callable[[], ServerConnection]


class Arrivals:
    """Accepted sockets that are not connections yet. All methods: the loop's thread.

    Each is a task, `_arrive`. What has to be read before the connection is made belongs there. On
    our own loop those of which nothing has to be read need no task: a task with what
    `connect_accepted_socket` does takes longer than to make connection and transport.
    """

    def __init__(
        self,
        registry: Connections,
        make_connection: MakeConnection,
        gates: HandshakeGates | None = None,
        peers: PeerLimits | None = None,
        proxy: "ProxyReader | None" = None,
    ) -> None:
        """Prepare to lead sockets to connections, and to report their number to `registry`.

        Args:
            registry: the server's connections.
            make_connection: makes one.
            gates: limit the handshakes of connections over TLS.
            peers: limit the connections of an address, that of a client behind a proxy.
            proxy: reads the PROXY headers of listed proxies.
        """
        self._proxy = proxy
        self._gates = gates
        self._peers = PeerLimits(0) if peers is None else peers
        self._registry = registry
        self._make_connection = make_connection
        self._look: Callable[[memoryview], bool] | None = None  # at connections' first input
        self._tasks: set[asyncio.Task[None]] = set()
        self._connecting: set[asyncio.Task[Any]] = set()  # those that wait for nothing else
        self._attached = 0  # how many without a task become connections in the next iteration
        self._all_made = asyncio.Event()  # set when there are none any more

    def accept(self, sock: socket.socket, address: Any) -> None:
        """Take a non-blocking socket that was accepted from the peer at `address`."""
        place = self._peers.place()
        loop = asyncio.get_running_loop()
        attach = getattr(loop, "attach_socket", None)
        has_header = self._proxy is not None and self._proxy.trusts(address)
        if attach is not None and not has_header:
            self._registry.begin_arrival()
            self._attached += 1
            try:
                place.take(address)
                attach(sock, self._make_protocol(address, place, None, 0.0))
            except BaseException as error:
                self._fail(sock, address, place, error)
                if not isinstance(error, Exception):
                    raise
            finally:
                loop.call_soon(self._end_attached)  # behind the transport's `connection_made`
            return
        task = loop.create_task(self._arrive(sock, address, place, has_header=has_header))
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._end, sock, address, place))
        self._registry.begin_arrival()

    async def wait(self) -> None:
        """Wait until none is left."""
        while self._tasks or self._attached:
            if self._tasks:
                await asyncio.wait(self._tasks)
            else:
                self._all_made.clear()
                await self._all_made.wait()

    def cancel(self) -> None:
        """Close all of them; `wait` returns when that is done.

        Not those that become connections already, in an iteration or two: their registry ends
        them. On uvloop a cancelled `connect_accepted_socket` leaves a connection whose
        `connection_lost` never comes.
        """
        for task in self._tasks - self._connecting:
            task.cancel()

    def watch_first_input(self, look: Callable[[memoryview], bool]) -> None:
        """See `Server.watch_first_input`."""
        self._look = look

    def wait_for_no_header(self) -> None:
        """Close those whose PROXY header has not come by now, and from now on."""
        if self._proxy is not None:
            self._proxy.wait_no_more()

    async def _arrive(
        self, sock: socket.socket, address: Any, place: PeerPlace, *, has_header: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        proxy: ProxyInfo | None = None
        accepted_s = loop.time()
        if has_header:
            assert self._proxy is not None
            header = await self._proxy.read(sock, address)
            if header is None:
                logger.debug("%s: closed without a PROXY header", name_of_peer(address))
                sock.close()
                return
            proxy, address = header.info, header.client or address
        waited_s = 0.0 if proxy is None else loop.time() - accepted_s
        place.take(address)
        make = functools.partial(self._make_protocol, address, place, proxy, waited_s)
        task = asyncio.current_task()
        assert task is not None
        self._connecting.add(task)
        await loop.connect_accepted_socket(make, sock)

    def _make_protocol(
        self, address: Any, place: PeerPlace, proxy: ProxyInfo | None, waited_s: float
    ) -> asyncio.BaseProtocol:
        connection = self._make_connection()
        connection.note_accepted(address, place)
        if proxy is not None:
            connection.note_proxied(proxy, waited_s)
        first: ServerConnection | HandshakeEntrance = connection
        if self._gates is not None:
            first = HandshakeEntrance(self._gates, connection)
        if self._look is None:
            return first
        return FirstLook(first, first.claimed, self._see_first_input)

    def _see_first_input(self, first: memoryview) -> None:
        if self._look is not None and not self._look(first):
            self._look = None

    def _end(
        self, sock: socket.socket, address: Any, place: PeerPlace, task: "asyncio.Task[None]"
    ) -> None:
        # Here and not in the task, which does not run at all if it is cancelled early.
        self._tasks.discard(task)
        self._connecting.discard(task)
        if task.cancelled():
            self._fail(sock, address, place, None)
        elif (error := task.exception()) is not None:
            self._fail(sock, address, place, error)
        self._registry.end_arrival()

    def _end_attached(self) -> None:
        self._attached -= 1
        if not self._attached:
            self._all_made.set()
        self._registry.end_arrival()

    def _fail(
        self, sock: socket.socket, address: Any, place: PeerPlace, error: BaseException | None
    ) -> None:
        """Close a socket that does not become a connection; without `error` it was cancelled."""
        place.leave()
        if isinstance(error, RemoteError):
            self._refuse(sock, address, error)
        else:
            sock.close()
            # As text: an error in a log record that somebody keeps would keep the whole bridge.
            why = "the server was closed" if error is None else str(error)
            logger.info(
                "%s: closed on its arrival: %s",
                name_of_peer(address),
                why or "the peer closed the connection",
            )
        if error is not None and not isinstance(error, (OSError, RemoteError)):
            report_to_loop(asyncio.get_running_loop(), "an arrival failed", error)

    def _refuse(self, sock: socket.socket, address: Any, error: RemoteError) -> None:
        """Close a connection that is not let in; one too many of an address is reset.

        An end of stream would leave state of it in the kernel, for a minute each, and look like an
        answer.
        """
        if isinstance(error, TooManyFromAddress):
            with contextlib.suppress(OSError):
                reset_socket_on_close(sock)
        sock.close()
        self._registry.count_aborted(error.reason)
        # A copy: its traceback, in a log record that somebody keeps, would keep the bridge.
        log_fault(name_of_peer(address), type(error)(*error.args))
