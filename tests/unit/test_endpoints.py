"""endpoints: TCP addresses as asked, UNIX paths taken over and removed with care."""

import asyncio
import errno
import os
import pathlib
import socket
from typing import Any

import pytest

from asyncrev.endpoints import UnixPath, describe, open_tcp
from asyncrev.errors import LocalError

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


def connects(path: pathlib.Path) -> bool:
    """Return whether somebody listens at `path`."""
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


def test_unix_path_listens_and_is_removed(tmp_path: pathlib.Path) -> None:
    """Removing twice is once."""
    path = UnixPath(str(tmp_path / "socket"))
    with path.open(5) as sock:
        assert not sock.getblocking()
        assert connects(tmp_path / "socket")
    path.remove()
    path.remove()
    assert not os.listdir(tmp_path)


def test_unix_path_of_a_live_server_is_not_taken(tmp_path: pathlib.Path) -> None:
    """Even if it is too busy to accept; it stays connectable."""
    with UnixPath(str(tmp_path / "socket")).open(5):
        other = UnixPath(str(tmp_path / "socket"))
        with pytest.raises(LocalError, match="in use by another server"):
            other.open(5)
        other.remove()
        assert connects(tmp_path / "socket")


def test_unix_path_of_a_dead_server_is_taken(tmp_path: pathlib.Path) -> None:
    """A server that was killed leaves its path."""
    UnixPath(str(tmp_path / "socket")).open(5).close()
    with UnixPath(str(tmp_path / "socket")).open(5):
        assert connects(tmp_path / "socket")


def test_unix_path_of_something_else_is_refused(tmp_path: pathlib.Path) -> None:
    """And left as it was."""
    (tmp_path / "file").write_text("precious")
    with pytest.raises(LocalError, match="not a socket"):
        UnixPath(str(tmp_path / "file")).open(5)
    assert (tmp_path / "file").read_text() == "precious"


def test_unix_path_that_is_somebody_elses_by_now_is_not_removed(tmp_path: pathlib.Path) -> None:
    """Our socket was replaced under us."""
    path = UnixPath(str(tmp_path / "socket"))
    with path.open(5):
        os.rename(tmp_path / "socket", tmp_path / "moved")
        with UnixPath(str(tmp_path / "socket")).open(5):
            path.remove()
            assert connects(tmp_path / "socket")


def test_unix_path_that_cannot_be_bound_raises(tmp_path: pathlib.Path) -> None:
    """The folder does not exist; no descriptor is left."""
    with pytest.raises(OSError, match="No such file") as caught:
        UnixPath(str(tmp_path / "no" / "socket")).open(5)
    assert caught.value.errno == errno.ENOENT


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


def test_unix_path_with_an_abstract_name_is_refused() -> None:
    """It has no inode, by which we would know it as ours at the end."""
    with pytest.raises(LocalError, match="abstract name"):
        UnixPath("\0name").open(1)
