"""Connections behind proxies: what processors, log and statistics say of them; deadlines, ends."""

import asyncio
import logging
import socket
import ssl
from typing import Any

import pytest

import asyncrev
from asyncrev import ConnectionInfo, Limits, ProxyProtocol, Server
from asyncrev.log_text import name_of_peer
from tests.protocol.served import connect, in_thread, tls_contexts
from tests.proxy_headers import CLIENT, LOCAL_V1, LOCAL_V2, SERVER, V1, V2, checksummed, inet
from tests.support import DEADLINE_S, receive_all, receive_exactly, reset, until

on_all = pytest.mark.asyncio
on_epoll = pytest.mark.asyncio(loop_factories=["epoll"])

HEADERS = [V1, LOCAL_V1, V2, LOCAL_V2, checksummed(inet())]
LISTED = ProxyProtocol(trusted=("127.0.0.1",), timeout_s=DEADLINE_S)
# Addresses of the loopback that are not listed.
UNLISTED = ProxyProtocol(trusted=("192.0.2.0/24",))


class Telling:
    """Notes who the peers are and reverses; a greeting goes first."""

    infos: list[ConnectionInfo]

    def __init__(self) -> None:
        self.infos = []

    def __call__(self) -> "_Told":
        return _Told(self.infos)


class _Told:
    def __init__(self, infos: list[ConnectionInfo]) -> None:
        self._infos = infos

    def connected(self, info: ConnectionInfo) -> None:
        self._infos.append(info)

    def process(self, chunk: memoryview) -> bytes:
        return bytes(chunk).swapcase()

    def eof(self) -> None:
        return None


def ask(client: socket.socket, *pieces: bytes) -> bytes:
    """Send pieces, then the end; return the whole answer."""
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in pieces:
        client.sendall(piece)
    client.shutdown(socket.SHUT_WR)
    return receive_all(client)


@on_all
@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("splits", [False, True])
async def test_processor_hears_of_the_client_and_gets_its_bytes_once(
    header: bytes, splits: bool
) -> None:
    """In the header's segment, or byte by byte; the socket's own peer is the proxy."""
    telling = Telling()
    async with await asyncrev.serve("127.0.0.1", 0, processor=telling, proxy=LISTED) as server:
        with connect(server) as client:
            own = client.getsockname()
            sent = header + b"hello" * 100
            pieces = [sent[at : at + 1] for at in range(len(sent))] if splits else [sent]
            assert await in_thread(ask, client, *pieces) == b"HELLO" * 100
        await until(lambda: not len(server.connections), "it has ended")
        assert server.statistics().aborted == {}
        assert server.statistics().received_bytes == 500
    (info,) = telling.infos
    assert info.proxy is not None
    assert info.proxy.proxy_address == own
    assert info.proxy.is_local is (header in (LOCAL_V1, LOCAL_V2))
    assert info.peer_address == (own if info.proxy.is_local else CLIENT)
    assert info.proxy.destination_address == (None if info.proxy.is_local else SERVER)
    assert info.local_address == own_of(server, info)


def own_of(server: Server, info: ConnectionInfo) -> Any:
    """Return the server's own address, which the header does not change."""
    assert isinstance(info.local_address, tuple)
    return ("127.0.0.1", info.local_address[1])


class _HeaderFirst:
    """A client's side of TLS whose socket has a header before the first byte of TLS."""

    @staticmethod
    def ask(port: int, header: bytes, context: ssl.SSLContext) -> bytes:
        """Return the answer to a word; the header and the ClientHello are one segment."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            session.do_handshake()
        with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as client:
            client.sendall(header + outgoing.read())
            while True:
                try:
                    session.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    client.sendall(outgoing.read())
                    incoming.write(client.recv(1 << 16))
            session.write(b"word")
            client.sendall(outgoing.read())
            while True:
                try:
                    return session.read(100)
                except ssl.SSLWantReadError:
                    incoming.write(client.recv(1 << 16))


@on_all
@pytest.mark.parametrize("header", HEADERS)
async def test_header_comes_before_tls(header: bytes) -> None:
    """In one segment with the ClientHello."""
    ours, theirs = tls_contexts()
    telling = Telling()
    async with await asyncrev.serve(
        "127.0.0.1", 0, processor=telling, proxy=LISTED, ssl=ours
    ) as server:
        assert await in_thread(_HeaderFirst.ask, server.port, header, theirs) == b"WORD"
    (info,) = telling.infos
    assert info.tls is not None
    assert info.proxy is not None
    assert (info.peer_address == CLIENT) is not info.proxy.is_local


@on_all
@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET / HTTP/1.1\r\n", "PROXY header missing"),
        (b"PROXY TCP4 nowhere\r\n", "PROXY header invalid"),
        (V1[:9], "PROXY header deadline"),
        (b"", "PROXY header deadline"),
    ],
)
async def test_listed_peer_without_a_header_is_refused_in_words(
    sent: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One line and one count; nobody else notices."""
    proxy = ProxyProtocol(trusted=("127.0.0.1",), timeout_s=0.3 if "dead" in reason else 60)
    async with await asyncrev.serve(
        "127.0.0.1", 0, processor=bytes.swapcase, proxy=proxy
    ) as server:
        with connect(server) as other, connect(server) as client:
            other.sendall(V1 + b"one")
            assert await in_thread(receive_exactly, other, 3) == b"ONE"
            name = name_of_peer(client.getsockname())
            client.sendall(sent)
            await until(lambda: server.statistics().aborted == {reason: 1}, "it is counted")
            assert server.connections.arriving == 0
            other.sendall(b"two")
            assert await in_thread(receive_exactly, other, 3) == b"TWO"
            (line,) = [text for text in caplog.messages if name in text]
            assert line.startswith(f"{name}: closed: ")
            assert "PROXY header" in line


@on_all
async def test_who_is_not_listed_is_served_without_a_look(caplog: pytest.LogCaptureFixture) -> None:
    """What looks like a header is data, so that nobody can say who he is."""
    telling = Telling()
    async with await asyncrev.serve("127.0.0.1", 0, processor=telling, proxy=UNLISTED) as server:
        with connect(server) as client:
            own = client.getsockname()
            assert await in_thread(ask, client, V1) == V1.swapcase()
    (info,) = telling.infos
    assert info.proxy is None
    assert info.peer_address == own


@on_all
@pytest.mark.parametrize("sent", [b"", LOCAL_V1, LOCAL_V2])
@pytest.mark.parametrize("end", [socket.socket.close, reset])
@pytest.mark.parametrize("over_tls", [False, True])
async def test_health_checks_leave_no_trace(
    sent: bytes, end: Any, over_tls: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """With a header of no client, or none at all, in good order or not."""
    caplog.set_level(logging.INFO, "asyncrev")
    ours = tls_contexts()[0] if over_tls else None
    async with await asyncrev.serve("127.0.0.1", 0, proxy=LISTED, ssl=ours) as server:
        caplog.clear()
        for _ in range(5):
            client = connect(server)
            client.sendall(sent)
            end(client)
        await until(lambda: server.statistics().accepted == 5, "all have come")
        await until(lambda: server.connections.is_idle, "and gone")
        assert server.statistics().aborted == {}
        assert caplog.messages == []


@on_epoll
async def test_log_names_the_client(caplog: pytest.LogCaptureFixture) -> None:
    """Not the proxy, whose address is the same for all."""
    caplog.set_level(logging.INFO, "asyncrev")
    limits = Limits(first_byte_timeout_s=0.3)
    async with await asyncrev.serve("127.0.0.1", 0, limits=limits, proxy=LISTED) as server:
        with connect(server) as client:
            client.sendall(V2)
            assert await in_thread(receive_all, client) == b""
            late = {"first byte deadline": 1}
            await until(lambda: server.statistics().aborted == late, "it is counted")
    (line,) = [text for text in caplog.messages if "first_byte" in text]
    assert line.startswith("192.0.2.1:56324: closed: ")


@on_epoll
async def test_statistics_name_the_client() -> None:
    """While it is connected."""
    async with await asyncrev.serve("127.0.0.1", 0, proxy=LISTED) as server:
        with connect(server) as client:
            client.sendall(V2)
            await until(lambda: len(server.connections), "it is a connection")
            (one,) = server.connection_statistics()
            assert one.info is not None
            assert one.info.peer_address == CLIENT


@on_all
async def test_unix_peers_are_listed_by_a_word(tmp_path: Any) -> None:
    """Everybody who may connect to the socket."""
    telling = Telling()
    path = str(tmp_path / "s")
    proxy = ProxyProtocol(trusted=("unix",))
    async with await asyncrev.serve(uds=path, processor=telling, proxy=proxy):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE_S)
            client.connect(path)
            client.sendall(V2 + b"word")
            assert await in_thread(receive_exactly, client, 4) == b"WORD"
    (info,) = telling.infos
    assert info.peer_address == CLIENT
    assert info.unix_credentials is not None
    assert info.proxy is not None
    assert info.proxy.proxy_address is None


# -- bounds and ends -----------------------------------------------------------------------------


@on_all
async def test_peers_that_send_no_header_are_bounded_and_time_out() -> None:
    """They count for max_connections; the next ones wait in the kernel's queue."""
    proxy = ProxyProtocol(trusted=("127.0.0.1",), timeout_s=0.5)
    limits = Limits(max_connections=16)
    async with await asyncrev.serve("127.0.0.1", 0, limits=limits, proxy=proxy) as server:
        clients = [connect(server) for _ in range(64)]
        seen = 0

        def all_refused() -> bool:
            nonlocal seen
            seen = max(seen, server.connections.arriving)
            return server.statistics().aborted.get("PROXY header deadline") == len(clients)

        await until(all_refused, "all were refused", 60)
        assert 0 < seen <= 16
        for client in clients:
            client.close()
        with connect(server) as client:
            client.sendall(V1 + b"abc")
            assert await in_thread(receive_exactly, client, 3) == b"cba"


@on_all
async def test_drain_waits_for_no_header() -> None:
    """Who has sent one is answered; who has not has nothing to be answered."""
    server = await asyncrev.serve(
        "127.0.0.1", 0, proxy=ProxyProtocol(trusted=("127.0.0.1",), timeout_s=600)
    )
    with connect(server) as silent, connect(server) as within, connect(server) as client:
        within.sendall(V2[:14])
        client.sendall(V2 + b"abc")
        assert await in_thread(receive_exactly, client, 3) == b"cba"
        await until(lambda: server.connections.arriving == 2, "the others wait")
        assert await server.drain(DEADLINE_S)
        assert server.statistics().aborted == {}
        assert await in_thread(receive_all, client) == b""
        assert silent.recv(1) == b""
        assert within.recv(1) == b""


@on_all
async def test_close_ends_those_that_wait_for_a_header() -> None:
    """And leaves no task."""
    server = await asyncrev.serve("127.0.0.1", 0, proxy=LISTED)
    with connect(server) as silent:
        await until(lambda: server.connections.arriving == 1, "it waits")
        await server.close()
        assert silent.recv(1) == b""
    assert server.connections.is_idle


@on_epoll
@pytest.mark.parametrize("over_tls", [False, True])
async def test_time_of_the_header_counts_for_what_follows_it(over_tls: bool) -> None:
    """One deadline for all that comes before the first byte."""
    limits = Limits(first_byte_timeout_s=30, tls_handshake_timeout_s=20)
    ours = tls_contexts()[0] if over_tls else None
    async with await asyncrev.serve(
        "127.0.0.1", 0, limits=limits, proxy=LISTED, ssl=ours
    ) as server:
        with connect(server) as client:
            await until(lambda: server.connections.arriving == 1, "it waits for a header")
            begun_s = asyncio.get_running_loop().time()
            client.sendall(V2[:14])
            await asyncio.sleep(0.2)  # the time that is counted
            client.sendall(V2[14:])
            await until(lambda: len(server.connections), "it is a connection")
            passed_s = asyncio.get_running_loop().time() - begun_s
            (one,) = server.connections
            assert 0.19 <= one._deadlines._spent_s <= passed_s + 0.1


@on_epoll
async def test_settings_of_another_kind_are_refused() -> None:
    """Before anything is open."""
    with pytest.raises(asyncrev.AsyncrevError, match="proxy is True"):
        Server(proxy=True)  # type: ignore[arg-type]
