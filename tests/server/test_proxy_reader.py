"""proxy_reader: takes a header from a socket, however it comes, and nothing behind it."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from asyncrev import ProxyProtocol
from asyncrev.errors import (
    ProxyHeaderInvalid,
    ProxyHeaderLate,
    ProxyHeaderMissing,
    SettingsError,
)
from asyncrev.server.proxy_reader import ProxyReader
from tests.proxy_headers import CLIENT, LOCAL_V1, LOCAL_V2, V1, V2, checksummed, inet
from tests.support import DEADLINE_S, reset, until

on_all = pytest.mark.asyncio
on_epoll = pytest.mark.asyncio(loop_factories=["epoll"])

HEADERS = [V1, LOCAL_V1, V2, LOCAL_V2, checksummed(inet())]
PROXY = ("127.0.0.1", 7)


def reader(timeout_s: float = DEADLINE_S) -> ProxyReader:
    """Return one that reads headers of both versions."""
    return ProxyReader(ProxyProtocol(trusted=("127.0.0.1",), timeout_s=timeout_s))


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return a socket that was accepted, and its peer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        sock, _ = listener.accept()
    sock.setblocking(False)
    with sock, peer:
        yield sock, peer


Pair = tuple[socket.socket, socket.socket]


@on_all
@pytest.mark.parametrize("header", HEADERS)
async def test_what_follows_a_header_is_left_to_be_received(header: bytes, pair: Pair) -> None:
    """In the same segment; nothing of it is taken."""
    sock, peer = pair
    peer.sendall(header + b"hello")
    found = await reader().read(sock, PROXY)
    assert found is not None
    assert found.info.proxy_address == PROXY
    assert found.client == (None if found.info.is_local else CLIENT)
    assert sock.recv(100) == b"hello"


@on_epoll
@pytest.mark.parametrize("header", HEADERS)
async def test_header_is_read_wherever_it_is_cut(header: bytes, pair: Pair) -> None:
    """At every byte; the second piece comes once the first was taken."""
    sock, peer = pair
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    one = reader()
    for cut in range(1, len(header)):
        peer.sendall(header[:cut])
        reading = asyncio.create_task(one.read(sock, PROXY))
        await until(lambda: one._waiting, "it waits for the rest")
        peer.sendall(header[cut:] + b"x")
        found = await reading
        assert found is not None
        assert found.info.is_local is (found.client is None)
        await until(lambda: _received(sock) == b"x", "what follows is received once")


def _received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(100)
    except BlockingIOError:
        return b""


@on_all
async def test_bytes_one_by_one_are_taken_without_spinning(pair: Pair) -> None:
    """What was seen is taken, so the loop sleeps until the next byte."""
    sock, peer = pair
    one = reader()
    wakes = 0
    wait_readable = one._wait_readable

    async def counting(fd: int) -> None:
        nonlocal wakes
        wakes += 1
        await wait_readable(fd)

    one._wait_readable = counting  # type: ignore[method-assign]
    reading = asyncio.create_task(one.read(sock, PROXY))
    for number, byte in enumerate(V1):
        await until(lambda at=number: wakes == at + 1, "it waits for the next byte")
        peer.send(bytes([byte]))
    found = await reading
    assert found is not None
    assert found.client == CLIENT
    assert wakes == len(V1)


@on_all
@pytest.mark.parametrize("sent", [b"", V1[:20], V2[:20]])
async def test_header_that_does_not_come_is_late(sent: bytes, pair: Pair) -> None:
    """It says how much has come."""
    sock, peer = pair
    peer.sendall(sent)
    with pytest.raises(ProxyHeaderLate, match=f"0.05 s; {len(sent)} bytes of it"):
        await reader(0.05).read(sock, PROXY)


@on_epoll
async def test_header_that_came_while_the_loop_stood_still_is_in_time(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked for once more at the end."""
    sock, peer = pair
    one = reader(0.05)

    async def deaf(fd: int) -> None:
        peer.sendall(V1 + b"x")
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(one, "_wait_readable", deaf)
    found = await one.read(sock, PROXY)
    assert found is not None
    assert found.client == CLIENT
    assert sock.recv(10) == b"x"


@on_all
async def test_peer_that_goes_before_its_first_byte_was_only_a_check(pair: Pair) -> None:
    """In good order or with a reset; that is no error."""
    sock, peer = pair
    reading = asyncio.create_task(reader().read(sock, PROXY))
    peer.close()
    assert await reading is None


@on_all
async def test_peer_that_resets_before_its_first_byte_was_only_a_check(pair: Pair) -> None:
    """As HAProxy ends its checks."""
    sock, peer = pair
    reset(peer)
    assert await reader().read(sock, PROXY) is None


@on_all
@pytest.mark.parametrize("broken", [False, True])
async def test_peer_that_goes_within_its_header_is_refused(broken: bool, pair: Pair) -> None:
    """It says how much there was of it."""
    sock, peer = pair
    one = reader()
    peer.sendall(V2[:17])
    reading = asyncio.create_task(one.read(sock, PROXY))
    await until(lambda: one._waiting, "it waits for the rest")
    (reset if broken else socket.socket.close)(peer)
    with pytest.raises(ProxyHeaderInvalid, match="after 17 bytes"):
        await reading


@on_all
async def test_what_is_no_header_is_refused_at_once(pair: Pair) -> None:
    """TLS, for instance."""
    sock, peer = pair
    peer.sendall(b"\x16\x03\x01")
    with pytest.raises(ProxyHeaderMissing, match="which is no PROXY header"):
        await reader().read(sock, PROXY)


@on_all
async def test_nobody_waits_during_a_drain(pair: Pair) -> None:
    """Those that wait end, those that come look once."""
    sock, peer = pair
    one = reader()
    reading = asyncio.create_task(one.read(sock, PROXY))
    await until(lambda: one._waiting, "it waits")
    one.wait_no_more()
    assert await reading is None
    assert await one.read(sock, PROXY) is None
    peer.sendall(V1)
    found = await one.read(sock, PROXY)
    assert found is not None
    assert found.client == CLIENT


@on_all
async def test_cancelled_read_leaves_the_socket_to_others(pair: Pair) -> None:
    """The loop does not watch it any more."""
    sock, peer = pair
    one = reader()
    reading = asyncio.create_task(one.read(sock, PROXY))
    await until(lambda: one._waiting, "it waits")
    reading.cancel()
    await asyncio.wait((reading,))
    assert reading.cancelled()
    assert not one._waiting
    peer.sendall(b"later")
    assert await asyncio.get_running_loop().sock_recv(sock, 10) == b"later"


def test_settings_must_be_such() -> None:
    """Not their parts."""
    with pytest.raises(SettingsError, match=r"must be an asyncrev\.ProxyProtocol"):
        ProxyReader("10.0.0.0/8")  # type: ignore[arg-type]
