"""socket_probe: what the kernel knows of a socket, asked of real ones."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from asyncrev.connection import socket_probe
from tests.support import wait_until


class Transport:
    """Names a socket, or none."""

    def __init__(self, sock: socket.socket | None) -> None:
        self._sock = sock

    def get_extra_info(self, name: str) -> socket.socket | None:
        """Return the socket."""
        assert name == "socket"
        return self._sock


Pair = tuple[socket.socket, socket.socket]


@contextlib.contextmanager
def pair_of(kind: str) -> Iterator[Pair]:
    """Two connected sockets."""
    if kind == "unix":
        near, far = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            far = socket.create_connection(listener.getsockname())
            near, _ = listener.accept()
    with near, far:
        yield near, far


@pytest.fixture(params=["unix", "tcp"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two connected sockets of each kind."""
    with pair_of(request.param) as sockets:
        yield sockets


@pytest.fixture
def tcp() -> Iterator[Pair]:
    """Two connected TCP sockets."""
    with pair_of("tcp") as sockets:
        yield sockets


def test_unread_bytes_are_what_came_less_what_was_read(pair: Pair) -> None:
    """To the byte."""
    near, far = pair
    transport = Transport(near)
    assert socket_probe.unread_bytes(transport) == 0
    assert not socket_probe.has_input(near)
    far.sendall(b"x" * 100)
    wait_until(lambda: socket_probe.unread_bytes(transport) == 100, "all came")
    assert socket_probe.has_input(near)
    assert len(near.recv(30)) == 30
    assert socket_probe.unread_bytes(transport) == 70
    assert len(near.recv(100)) == 70
    assert socket_probe.unread_bytes(transport) == 0
    assert not socket_probe.has_input(near)


def test_unacknowledged_bytes_stay_until_the_peer_makes_room(pair: Pair) -> None:
    """The peer's kernel has taken what it can; the rest waits here."""
    near, far = pair
    transport = Transport(near)
    assert socket_probe.unacknowledged_bytes(transport) == 0
    near.setblocking(False)
    sent_bytes = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sent_bytes += near.send(bytes(65536))
    assert socket_probe.unacknowledged_bytes(transport) > 0
    while sent_bytes:
        sent_bytes -= len(far.recv(1 << 20))
    wait_until(lambda: socket_probe.unacknowledged_bytes(transport) == 0, "all is taken")


def test_end_of_input_is_known_before_what_came_is_read(pair: Pair) -> None:
    """An end is no reset."""
    near, far = pair
    transport = Transport(near)
    far.sendall(b"last words")
    assert not socket_probe.input_has_ended(transport)
    far.shutdown(socket.SHUT_WR)
    wait_until(lambda: socket_probe.input_has_ended(transport), "the end came")
    assert near.recv(100) == b"last words"
    assert socket_probe.input_has_ended(transport)
    assert socket_probe.has_input(near)  # its end
    assert not socket_probe.peer_has_gone(transport)


def test_reset_on_close_resets_the_connection_and_leaves_the_socket_open(tcp: Pair) -> None:
    """The other side learns it without reading, and gets an error where an end would be."""
    near, far = tcp
    seen_by_far = Transport(far)
    socket_probe.reset_on_close(Transport(near))
    near.sendall(b"still open")
    assert far.recv(100) == b"still open"
    assert not socket_probe.peer_has_gone(seen_by_far)
    near.close()
    wait_until(lambda: socket_probe.peer_has_gone(seen_by_far), "the reset came")
    assert socket_probe.input_has_ended(seen_by_far)
    with pytest.raises(ConnectionResetError):
        far.recv(100)


def test_close_without_it_is_an_end(tcp: Pair) -> None:
    """That the test before tells the two apart."""
    near, far = tcp
    near.close()
    assert far.recv(100) == b""
    assert not socket_probe.peer_has_gone(Transport(far))


def test_transport_without_a_socket_answers_as_an_open_one_without_input() -> None:
    """Or with one that was closed."""
    closed = socket.socket()
    closed.close()
    assert not socket_probe.has_input(closed)
    for transport in (Transport(None), Transport(closed)):
        assert socket_probe.unread_bytes(transport) == 0
        assert socket_probe.unacknowledged_bytes(transport) == 0
        assert not socket_probe.input_has_ended(transport)
        assert not socket_probe.peer_has_gone(transport)
        socket_probe.reset_on_close(transport)
