"""Who a transport's peer is, on the loop's thread."""

import os
import socket
from typing import Any

import pytest

from asyncrev.connection.peer_info import info_of


class Transport:
    """Has what a transport tells, and nothing else."""

    def __init__(self, **extra: Any) -> None:
        self.extra = extra

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return it."""
        return self.extra.get(name, default)


def of(sock: socket.socket) -> Any:
    """Return what is known of a connected socket's peer."""
    return info_of(
        Transport(  # type: ignore[arg-type]
            socket=sock, peername=sock.getpeername(), sockname=sock.getsockname()
        )
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_addresses_are_those_of_the_socket(host: str) -> None:
    """IPv6 with flow and scope."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"there is no {host} here")
    with listener, socket.create_connection(listener.getsockname()[:2]) as client:
        accepted, address = listener.accept()
        with accepted:
            info = of(accepted)
            assert info.peer_address == client.getsockname() == address
            assert info.local_address == client.getpeername()
            assert info.unix_credentials is info.tls is None


@pytest.mark.parametrize("name", ["", "\0peer-of-a-test"], ids=["unnamed", "abstract"])
def test_unix_peer_has_credentials_and_perhaps_a_name(name: str) -> None:
    """The empty name is none."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind("")
        listener.listen()
        if name:
            client.bind(name)
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
        with accepted:
            info = of(accepted)
            assert info.peer_address == (name.encode() or None)
            assert info.local_address == listener.getsockname()
            assert info.unix_credentials == (os.getpid(), os.getuid(), os.getgid())
            assert info.unix_credentials.pid == os.getpid()


def test_unix_client_is_told_of_the_server() -> None:
    """From its own end: no name of its own, the server's credentials."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind("")
        listener.listen()
        client.connect(listener.getsockname())
        info = of(client)
        assert info.local_address is None
        assert info.peer_address == listener.getsockname()
        assert info.unix_credentials == (os.getpid(), os.getuid(), os.getgid())


def test_transport_that_tells_nothing_is_no_error() -> None:
    """Of a pipe, or of somebody's own."""
    info = info_of(Transport())  # type: ignore[arg-type]
    assert info.peer_address is info.local_address is info.unix_credentials is info.tls is None


def test_socket_that_has_gone_has_no_credentials() -> None:
    """It was closed meanwhile."""
    sock = socket.socket(socket.AF_UNIX)
    sock.close()
    info = info_of(Transport(socket=sock, sockname="/a/path"))  # type: ignore[arg-type]
    assert info.local_address == "/a/path"
    assert info.unix_credentials is None
