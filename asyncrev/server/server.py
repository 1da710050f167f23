"""The server: its states, start, drain and close. It owns the parts that do the rest."""

import asyncio
import logging
import math
import socket
import ssl as ssl_module
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

from asyncrev.bridge.bridge import Bridge
from asyncrev.bridge.running_time import running_timeout
from asyncrev.connection.settings import checked_settings
from asyncrev.errors import AsyncrevError, LocalError, SettingsError, WorkerDied
from asyncrev.frames.grammar import Grammar
from asyncrev.later_processors import LaterFactory
from asyncrev.limits import Limits
from asyncrev.processors import declares
from asyncrev.ring import planes
from asyncrev.server.arrivals import Arrivals
from asyncrev.server.bridge_group import BridgeGroup
from asyncrev.server.connections import Connections, ConnectionTotals
from asyncrev.server.listen_sockets import describe
from asyncrev.server.listener import ACCEPTS_PER_ITERATION, TLS_ACCEPTS_PER_ITERATION
from asyncrev.server.listeners import Listeners
from asyncrev.server.memory_bound import MemoryBound
from asyncrev.server.peer_limits import PeerLimits
from asyncrev.server.server_connection import ServerConnection
from asyncrev.server.server_executor import ServerExecutor
from asyncrev.server.server_tls import ServerTls
from asyncrev.server.unix_path import DEFAULT_MODE
from asyncrev.states import SERVER_TRANSITIONS, ServerEvent, ServerState, advance
from asyncrev.statistics import ClosedConnection, ConnectionStatistics, ServerStatistics, total
from asyncrev.work.reverse import Reverse

if TYPE_CHECKING:
    from asyncrev.executors.engine import ExecutorEngine
    from asyncrev.executors.settings import ExecutorSettings
    from asyncrev.server.proxy_protocol import ProxyProtocol
    from asyncrev.server.proxy_reader import ProxyReader

__all__ = ["Server"]

logger = logging.getLogger("asyncrev")


class Server:
    """Serves connections on a bridge, on any loop. All methods: the loop's thread.

    It installs no signal handlers: that is the program's business.

    Attributes:
        limits: those that it was made with.
        connections: the registry of its connections: how many, how many are arriving, their bytes.
    """

    def __init__(
        self,
        processor: Any = Reverse,
        *,
        framing: str | Grammar = "raw",
        limits: Limits | None = None,
        bridge: Bridge | None = None,
        threads: int = 1,
        ssl: ssl_module.SSLContext | None = None,
        proxy: "ProxyProtocol | None" = None,
        executor: Any = None,
        executor_settings: "ExecutorSettings | None" = None,
    ) -> None:
        """Prepare a server; `start` makes it listen.

        Args:
            processor: a class or factory of processors, a function from bytes to bytes, or a
                coroutine function or class of such methods, which runs on the loop.
            framing: "raw", "line", "len32", "len64" or a `Grammar`; see `BridgeProtocol`.
            limits: see `Limits`; the default is the bridge's, or all defaults.
            bridge: a running bridge to share. Without it the server has its own.
            threads: how many bridges of its own it has, each with a worker thread; connections
                are spread over them. For processors that release the GIL for most of their time,
                and for builds without it: others get slower by more than one. Processors are
                then made and called on several threads, each on one of them.
            ssl: serve TLS with this context, one for the server's side, on the workers' threads.
            proxy: read the PROXY headers of the proxies that it lists; see `ProxyProtocol`.
            executor: calls `processor`, which is a function of a module then, for each frame:
                "processes", "threads", "interpreters", "dask", a `concurrent.futures.Executor`, or
                a function that makes one.
            executor_settings: of that; see `asyncrev.executors.settings.ExecutorSettings`.

        Raises:
            SettingsError: `processor` cannot be used as one, there is no such framing, the
                bridge has no room for frames of `max_frame_bytes`, `threads` is below 1, or
                given together with `bridge`, or `limits`, `bridge`, `ssl` or `proxy` is something
                else.
        """
        if not isinstance(bridge, Bridge | None):
            raise SettingsError(f"bridge is {bridge!r}; it must be an asyncrev.Bridge, or None")
        if limits is None:
            limits = bridge.limits if bridge is not None else Limits()
        if not isinstance(limits, Limits):
            raise SettingsError(f"limits is {limits!r}; it must be an asyncrev.Limits, or None")
        self.limits = limits
        self._tls = ServerTls(ssl, most_handshakes=limits.tls_handshakes_in_flight, workers=threads)
        bridge_limits = bridge.limits if bridge is not None else limits
        self._executor: ServerExecutor | None = None
        self._ending: asyncio.Task[object] | None = None  # that nobody awaits
        if executor is not None:
            self._executor = ServerExecutor(
                executor, processor, executor_settings, self._end_without_executor
            )
            processor = self._executor.factory
        elif executor_settings is not None:
            raise SettingsError("executor_settings were given without an executor")
        # Of its own, or of an `ExecutorProcessor`, which others may share.
        self._executor_engine: ExecutorEngine | None = None
        if self._executor is not None:
            self._executor_engine = self._executor.engine
        elif isinstance(processor, LaterFactory):
            processor.check_usable()
            self._executor_engine = processor.engine
        # Of the connections that are made from now on.
        self._settings = checked_settings(
            processor,
            framing,
            limits,
            bridge_limits,
            self._tls.parameters,
            self._executor_engine,
        )
        framed = self._settings.framing is not None
        if framed and bridge is not None:
            bridge.check_frame_limit(limits.max_frame_bytes)
        self._group = BridgeGroup(limits, threads=threads, shared=bridge)
        self._memory = MemoryBound(
            limits,
            bridges=len(self.bridges),
            framed=framed,
            replies_fit=declares(processor, "replies_fit"),
            pending=self._settings.engine is not None,
            executor_bytes=0
            if self._executor_engine is None
            else self._executor_engine.memory_bytes(
                limits.max_frame_bytes if framed else limits.slot_bytes
            ),
            tls=ssl is not None or declares(processor, "may_start_tls"),
        )
        self._state = ServerState.NEW
        self.connections = Connections(limits.max_connections, self._heed_limit)
        self._peers = PeerLimits(limits.max_connections_per_ip)
        self._arrivals = Arrivals(
            self.connections,
            self._make_connection,
            self._tls.gates,
            self._peers,
            _reader_of(proxy),
        )
        self._listeners = Listeners(
            self._arrivals.accept,
            backlog=limits.backlog,
            retry_s=limits.accept_retry_s,
            most_accepts=ACCEPTS_PER_ITERATION if ssl is None else TLS_ACCEPTS_PER_ITERATION,
        )
        self._closed = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._drain_aborted = False

    # -- life --------------------------------------------------------------------------------

    async def start(
        self,
        host: str | None = "127.0.0.1",
        port: int = 9090,
        *,
        uds: str | None = None,
        uds_mode: int = DEFAULT_MODE,
        sock: socket.socket | Sequence[socket.socket] | None = None,
        leave_queue: bool = False,
    ) -> None:
        """Listen on TCP, or on the UNIX path `uds`, or on the listening socket or sockets `sock`.

        Args:
            host: name or address; None, "" and "*" are all interfaces, IPv4 and IPv6. What a name
                has beside addresses of this machine is left out, with a warning.
            port: 0 takes a free one, the same for all addresses.
            uds: path of a UNIX socket. The socket that a dead server has left there is replaced.
            uds_mode: the mode of its file, whatever the umask: 0o660 lets the group connect,
                0o666 everybody who reaches the directory.
            sock: from now on it is the server's, or all of them are. With an empty sequence the
                server listens on nothing: somebody else accepts; see `accept_socket`.
            leave_queue: somebody else has these sockets, too, and goes on listening, as systemd
                does: a drain leaves connections that are not accepted to the next process.

        Raises:
            OSError: an address cannot be bound.
            SettingsError: `uds` and `sock` are both given, or a value is out of range or of a
                wrong type.
            LocalError: the server was started before, or closed meanwhile, or `uds` is somebody
                else's.
        """
        self._move(ServerEvent.START)
        try:
            if sock is None and uds is None:
                _check_types(host, port)
            if self._executor is not None:
                await self._executor.open()
            await self._listeners.open(
                host, port, uds=uds, uds_mode=uds_mode, sock=sock, leave_queue=leave_queue
            )
            if self._state is not ServerState.SERVING:
                raise LocalError("the server was closed while it started")
            self._group.start()
            self._watcher = asyncio.create_task(self._watch_bridge())
            self._listeners.start()
        except BaseException:
            if self._state is ServerState.SERVING:
                self._move(ServerEvent.CLOSE)
            await self._end_start()
            raise

    async def _end_start(self) -> None:
        """Give back what a start that failed has taken."""
        try:
            await self._listeners.close()
            if self._watcher is not None:
                self._watcher.cancel()
            await self._group.close(timeout_s=1.0)
            if self._executor is not None:
                await self._executor.close()
        except AsyncrevError as error:  # not in place of what made the start fail
            logger.error("%s", error)
        finally:
            self._closed.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def serve_forever(self) -> None:
        """Wait until the server is closed, by whomever.

        Raises:
            WorkerDied: a bridge's worker died; the server is closed.
            ExecutorLost: the workers of its executor could not be kept running.
        """
        await self._closed.wait()
        if isinstance(self._group.error, WorkerDied):
            raise self._group.error
        if self._executor is not None and self._executor.error is not None:
            raise self._executor.error

    def accept_socket(self, sock: socket.socket, address: Any) -> None:
        """Serve a connection that somebody else has accepted, as if a listener had.

        It is served even if there are `max_connections` already, because nobody can wait here:
        whoever accepts counts them, and looks at `accepting`.

        Args:
            sock: a connected stream socket, the server's from now on, in any case; it becomes
                non-blocking.
            address: of the peer, as `socket.accept` tells it.

        Raises:
            LocalError: the server does not serve now; `sock` is closed.
        """
        if self._state is not ServerState.SERVING:
            sock.close()
            raise LocalError(f"the server is {self._state.value}; it takes no connections")
        sock.setblocking(False)
        self._arrivals.accept(sock, address)

    async def drain(self, timeout_s: float | None = None, spread_s: float = 0.0) -> bool:
        """Stop accepting, answer every byte that has arrived by now, close; return if in time.

        Connections that the kernel has completed are accepted first, unless `start` was called
        with `leave_queue`. After `timeout_s`, by default `Limits.drain_timeout_s`, what is left is
        aborted, and False returned; also when somebody calls `close` meanwhile.

        Args:
            timeout_s: for all of it.
            spread_s: over how much of that time connections are told to end, at even distances;
                until then each is served as before. So clients do not all connect elsewhere at
                the same moment. 0 tells all at once.

        Raises:
            SettingsError: `spread_s` is negative, or longer than `timeout_s`.
        """
        if timeout_s is None:
            timeout_s = self.limits.drain_timeout_s
        if spread_s and not (0 < spread_s <= timeout_s and math.isfinite(spread_s)):
            raise SettingsError(
                f"spread_s is {spread_s!r}; it must lie between 0 and the timeout, {timeout_s:g}"
            )
        if self._state is ServerState.NEW:
            await self.close()
        if self._state is not ServerState.SERVING:
            await self._closed.wait()
            return not self._drain_aborted
        self._move(ServerEvent.DRAIN)
        logger.info(
            "draining %d connections%s, at most %g s",
            len(self.connections),
            f" over {spread_s:g} s" if spread_s else "",
            timeout_s,
        )
        await self._listeners.close(accept_queued=True)
        try:
            async with running_timeout(timeout_s):
                self._arrivals.wait_for_no_header()
                await self._arrivals.wait()
                await self.connections.drain_all(spread_s)
                await self.connections.wait_empty()
        except TimeoutError:
            self.connections.count_aborted("drain deadline", self.connections.arriving)
            self.connections.abort_all("drain deadline")
        await self.close()
        return not self._drain_aborted

    async def close(self) -> None:
        """Close everything now: what is unanswered stays so. Idempotent.

        A step that fails is logged and keeps no other from being done.

        Raises:
            WorkerHung: a bridge of the server's own does not end; everything else is closed.
        """
        if self._state is ServerState.CLOSED:
            await self._closed.wait()
            return
        if self._state is ServerState.DRAINING and not self.connections.is_idle:
            self._drain_aborted = True
        self._move(ServerEvent.CLOSE)
        try:
            self.connections.close()
            await self._listeners.close()
            self._arrivals.cancel()
            self.connections.abort_all("server closed")
            await self._arrivals.wait()
            await self.connections.wait_empty()
            if self._watcher is not None and self._watcher is not asyncio.current_task():
                self._watcher.cancel()
            try:
                await self._group.close(timeout_s=1.0)
            finally:
                if self._executor is not None:
                    await self._executor.close()
        finally:
            self._tls.close()
            self._closed.set()

    # -- looking at it -----------------------------------------------------------------------

    @property
    def state(self) -> ServerState:
        """Where the server is in its life."""
        return self._state

    @property
    def bridges(self) -> tuple[Bridge, ...]:
        """The bridges that do the work, one or `threads` of them."""
        return self._group.bridges

    @property
    def addresses(self) -> list[Any]:
        """What it listens on, as `socket.getsockname` tells it, so the real port for port 0."""
        return self._listeners.addresses

    @property
    def port(self) -> int:
        """The TCP port of the first address."""
        return int(self.addresses[0][1])

    @property
    def memory_bound_bytes(self) -> int:
        """The most that connections make this process hold; see `Limits`.

        With a processor whose replies may be longer than what they answer, and no
        `max_reply_bytes`, it does not count what they are longer.
        """
        return self._memory.total_bytes

    @property
    def connection_bytes(self) -> int:
        """The most that one of them makes this process hold; a term of `memory_bound_bytes`."""
        return self._memory.connection_bytes

    @property
    def replies_are_bounded(self) -> bool:
        """Whether `memory_bound_bytes` holds for replies, too: else `max_reply_bytes` is 0."""
        return self._memory.replies_are_bounded

    def swap_ssl(self, context: ssl_module.SSLContext) -> None:
        """Use `context` for connections that are made from now on, with a new certificate, say.

        Raises:
            LocalError: the server was made without TLS.
            SettingsError: `context` is not one of a server; then the one before stays.
        """
        self._tls.swap(context)
        self._settings = self._settings._replace(tls=self._tls.parameters)

    def watch_first_input(self, look: Callable[[memoryview], bool]) -> None:
        """Have `look` see what each connection begins with, until it returns False.

        It gets what was received first, over TLS the ciphertext: what precedes TLS, such as a PROXY
        header, comes there. It is valid until it returns, and must not raise. Later input costs no
        more by it. Connections that were made before are not watched.
        """
        self._arrivals.watch_first_input(look)

    def on_connection_closed(self, callback: Callable[[ClosedConnection], object]) -> None:
        """Call `callback` with a `ClosedConnection` for each connection that ends from now on.

        It is called on the loop's thread, at the end of the connection, and must not wait; an
        exception of it is logged. Callbacks are called in the order in which they were given. A
        socket whose connection never began, because the server was closed before, is not told.
        """
        if not callable(callback):
            raise SettingsError(f"callback is {callback!r}; it must be callable")
        self.connections.observe(callback)

    def __repr__(self) -> str:
        where = ", ".join(describe(address) for address in self.addresses) or "nothing"
        return f"<Server {self._state.value} {where} connections={len(self.connections)}>"

    @property
    def accepting(self) -> bool:
        """Whether new connections are accepted now."""
        return self._listeners.accepting

    @property
    def accept_errors_by_name(self) -> dict[str, int]:
        """How many accepts failed so far, by the name of the error, such as EMFILE."""
        return self._listeners.errors_by_name

    def statistics(self, totals: ConnectionTotals | None = None) -> ServerStatistics:
        """Return what was counted so far.

        `totals`: complete ones, of whoever has added them up in steps; else they are added here,
        at once.
        """
        connections = self.connections
        bridges = tuple(bridge.statistics() for bridge in self.bridges)
        return ServerStatistics(
            connections=len(connections),
            connections_high=connections.high,
            accepted=connections.accepted,
            accept_errors=self._listeners.errors,
            accepting=self.accepting,
            received_bytes=(totals or connections).received_bytes,
            replied_bytes=(totals or connections).replied_bytes,
            aborted=connections.aborted,
            memory_bound_bytes=self.memory_bound_bytes,
            certificate_days_left=self._tls.certificate_days_left(),
            handshakes=self._tls.handshakes(),
            pending=None if self._settings.engine is None else self.bridges[0].pending_statistics(),
            executor=None if self._executor_engine is None else self._executor_engine.statistics(),
            plane=planes.NAME,
            bridge=total(bridges),
            bridges=bridges,
        )

    def connection_statistics(self) -> list[ConnectionStatistics]:
        """Return what is known of each open connection; it takes some microseconds for each."""
        return [connection.statistics() for connection in self.connections]

    # -- what the parts call -----------------------------------------------------------------

    def _make_connection(self) -> ServerConnection:
        return ServerConnection(self.connections, self._group.choose(), self._settings)

    def _heed_limit(self) -> None:
        if self._state is not ServerState.SERVING:
            return
        if self.connections.check_limit():
            self._listeners.pause()
        else:
            self._listeners.resume()

    async def _watch_bridge(self) -> None:
        await self._group.wait_ended()
        if self._state in (ServerState.SERVING, ServerState.DRAINING):
            await self.close()

    def _end_without_executor(self) -> None:
        self._ending = asyncio.ensure_future(self.drain())

    def _move(self, event: ServerEvent) -> None:
        self._state = advance(SERVER_TRANSITIONS, self._state, event)


def _reader_of(proxy: "ProxyProtocol | None") -> "ProxyReader | None":
    if proxy is None:
        return None
    from asyncrev.server.proxy_reader import ProxyReader  # few servers need it, and ipaddress

    return ProxyReader(proxy)


def _check_types(host: Any, port: Any) -> None:
    if not isinstance(host, str | None):
        raise SettingsError(f"host is {host!r}; it must be one name or address, a str, or None")
    if not isinstance(port, int) or isinstance(port, bool):
        raise SettingsError(f"port is {port!r}; it must be a number from 0 to 65535")
