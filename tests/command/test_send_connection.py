"""send_connection: a socket that never waits, and the poll that does."""

import select
import socket

import pytest

from asyncrev.command.send_connection import Connection, poll_once
from tests.support import DEADLINE_S, reset


def test_nothing_there_bytes_and_the_end() -> None:
    """After a half-close the other direction goes on."""
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        connection = Connection(ours)
        assert connection.receive(10) is None
        assert connection.send(memoryview(b"abc")) == 3
        assert connection.half_close()
        assert theirs.recv(10) == b"abc"
        assert theirs.recv(10) == b""
        theirs.sendall(b"x")
        assert poll_once({connection.fileno(): select.POLLIN}, DEADLINE_S)
        assert connection.receive(10) == b"x"
        theirs.close()
        assert connection.receive(10) == b""
        connection.close()


def test_full_socket_takes_nothing() -> None:
    """Nor does it wait, and a poll ends in time."""
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        connection = Connection(ours)
        while connection.send(memoryview(bytes(65536))):
            pass
        assert poll_once({connection.fileno(): select.POLLOUT}, 0.01) == {}
        connection.close()


def test_reset_is_an_error() -> None:
    """Of the system, with its words."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sock = socket.create_connection(listener.getsockname())
        peer, _ = listener.accept()
        reset(peer)
        sock.setblocking(False)
        connection = Connection(sock)
        assert poll_once({connection.fileno(): select.POLLIN}, DEADLINE_S)
        with pytest.raises(ConnectionResetError):
            connection.receive(10)
        connection.close()
