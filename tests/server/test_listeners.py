"""listeners: opened together, closed whatever fails or ends the wait for it."""

import asyncio
import fcntl
import os
import pathlib
import socket
from typing import Any

import pytest

from asyncrev.errors import SettingsError
from asyncrev.server.listeners import Listeners
from tests.support import until

on_all = pytest.mark.asyncio
on_epoll = pytest.mark.asyncio(loop_factories=["epoll"])


class Bench:
    """Listeners, and what they accepted."""

    def __init__(self) -> None:
        self.accepted: list[socket.socket] = []
        self.listeners = Listeners(self.accept, backlog=5, retry_s=0.01)

    def accept(self, sock: socket.socket, address: Any) -> None:
        self.accepted.append(sock)
        sock.close()

    async def open(self, host: str | None = "127.0.0.1", uds: str | None = None) -> None:
        await self.listeners.open(host, 0, uds=uds, uds_mode=0o600, sock=None)
        self.listeners.start()


@on_all
async def test_all_of_them_pause_and_resume_together() -> None:
    """On all interfaces there are two, where there is IPv6."""
    bench = Bench()
    await bench.open("*")
    addresses = bench.listeners.addresses
    assert bench.listeners.accepting
    bench.listeners.pause()
    assert not bench.listeners.accepting
    clients = [
        socket.create_connection(("::1" if ":" in address[0] else "127.0.0.1", address[1]))
        for address in addresses
    ]
    bench.listeners.resume()
    await until(lambda: len(bench.accepted) == len(addresses), "each has accepted one")
    assert bench.listeners.errors == 0
    await bench.listeners.close()
    await bench.listeners.close()
    assert not bench.listeners.addresses
    for client in clients:
        client.close()


@on_epoll
@pytest.mark.parametrize("accept_queued", [True, False])
async def test_what_is_queued_at_the_close_is_accepted_if_wanted(accept_queued: bool) -> None:
    """Also during a pause: the drain answers whoever the kernel has completed."""
    bench = Bench()
    await bench.open()
    bench.listeners.pause()
    with socket.create_connection(bench.listeners.addresses[0]):
        await bench.listeners.close(accept_queued=accept_queued)
    assert len(bench.accepted) == accept_queued


@on_epoll
async def test_close_that_is_cancelled_in_its_wait_closes_the_sockets(
    tmp_path: pathlib.Path,
) -> None:
    """Somebody holds the lock of the directory, and nobody waits any longer."""
    bench = Bench()
    await bench.open(uds=str(tmp_path / "socket"))
    fd = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        closing = asyncio.create_task(bench.listeners.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
    finally:
        os.close(fd)
    assert not bench.listeners.addresses
    with socket.socket(socket.AF_UNIX) as probe:
        assert probe.connect_ex(str(tmp_path / "socket")) != 0


@on_epoll
async def test_lock_that_somebody_keeps_leaves_the_path_with_a_warning(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not removed without the lock: it might be another server's by then."""
    monkeypatch.setattr("asyncrev.server.unix_path.REMOVE_LOCK_TIMEOUT_S", 0.05)
    bench = Bench()
    await bench.open(uds=str(tmp_path / "socket"))
    fd = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        await bench.listeners.close()
    finally:
        os.close(fd)
    assert os.listdir(tmp_path) == ["socket"]
    assert "has held the lock of directory" in caplog.text
    assert not bench.listeners.addresses


@on_epoll
async def test_queue_of_sockets_that_somebody_else_has_is_left_to_the_next() -> None:
    """Several sockets are served; at a drain who is queued is neither accepted nor refused."""
    bench = Bench()
    ours = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    kept = [sock.dup() for sock in ours]
    addresses = [sock.getsockname() for sock in ours]
    await bench.listeners.open(None, 0, uds=None, uds_mode=0, sock=ours, leave_queue=True)
    bench.listeners.start()
    assert bench.listeners.addresses == addresses
    for address in addresses:
        socket.create_connection(address).close()
    await until(lambda: len(bench.accepted) == 2, "each has accepted one")
    bench.listeners.pause()
    clients = [socket.create_connection(address) for address in addresses]
    await bench.listeners.close(accept_queued=True)
    assert len(bench.accepted) == 2
    for sock, client in zip(kept, clients, strict=True):
        sock.accept()[0].close()
        assert client.recv(1) == b""
        client.close()
        sock.close()


@on_epoll
async def test_without_a_socket_nothing_listens_and_pauses_are_kept_in_mind() -> None:
    """Somebody else accepts, and looks whether connections are wanted."""
    bench = Bench()
    listeners = bench.listeners
    await listeners.open(None, 0, uds=None, uds_mode=0, sock=())
    assert not listeners.accepting
    listeners.start()
    assert listeners.accepting
    assert listeners.addresses == []
    listeners.pause()
    assert not listeners.accepting
    listeners.resume()
    assert listeners.accepting
    await listeners.close(accept_queued=True)
    assert not listeners.accepting


@on_epoll
@pytest.mark.parametrize("sock", [[None], "ab", [1, 2]])
async def test_sock_that_is_none_is_refused(sock: Any) -> None:
    bench = Bench()
    with pytest.raises(SettingsError, match="it must be a listening socket, or several"):
        await bench.listeners.open(None, 0, uds=None, uds_mode=0, sock=sock)
    await bench.listeners.close()
