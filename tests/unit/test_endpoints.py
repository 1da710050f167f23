"""endpoints: TCP addresses as asked."""

import asyncio
import socket
from typing import Any

import pytest

from asyncrev.endpoints import describe, open_tcp

on_epoll = pytest.mark.asyncio(loop_factories=["epoll"])


def resolve_to(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """Let every name have these addresses, the first one twice."""

    async def getaddrinfo(host: str, port: int, **how: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in (hosts[0], *hosts)
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


@on_epoll
async def test_open_tcp_with_port_0_gives_all_addresses_the_same_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each address once; the sockets listen and do not block."""
    resolve_to(monkeypatch, "127.0.0.1", "127.0.0.2")
    sockets = await open_tcp("two.example", 0, 5)
    first, second = (sock.getsockname() for sock in sockets)
    assert (first[0], second[0]) == ("127.0.0.1", "127.0.0.2")
    assert first[1] == second[1] != 0
    for sock in sockets:
        assert not sock.getblocking()
        socket.create_connection(sock.getsockname()).close()
        sock.close()


@on_epoll
async def test_open_tcp_of_a_used_port_raises_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also the addresses that could be bound are closed."""
    with socket.create_server(("127.0.0.2", 0)) as other:
        resolve_to(monkeypatch, "127.0.0.1", "127.0.0.2")
        with pytest.raises(OSError, match="in use"):
            await open_tcp("two.example", other.getsockname()[1], 5)


@on_epoll
async def test_open_tcp_of_a_number_needs_no_name() -> None:
    """The usual case."""
    (sock,) = await open_tcp("127.0.0.1", 0, 5)
    assert sock.getsockname()[1] > 0
    sock.close()


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("127.0.0.1", 80), "127.0.0.1:80"),
        (("::1", 80, 0, 0), "[::1]:80"),
        ("/run/socket", "unix:/run/socket"),
    ],
)
def test_describe_writes_addresses_as_people_do(address: Any, text: str) -> None:
    """IPv6 in brackets."""
    assert describe(address) == text
