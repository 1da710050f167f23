"""What answers calls in a worker, on a thread of this process."""

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from asyncrev.executors.call_server import CallFailure, serve_calls, serve_calls_at
from asyncrev.executors.messages import NOTHING, pack, read_message
from tests.executors import work
from tests.support import DEADLINE_S


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """Return the server's end of a worker's socket."""
    ours, theirs = socket.socketpair()
    ours.settimeout(DEADLINE_S)
    thread = threading.Thread(target=serve_calls, args=(theirs,))
    thread.start()
    with ours:
        yield ours
        ours.shutdown(socket.SHUT_WR)
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def test_calls_are_answered_in_their_order(server: socket.socket) -> None:
    """Several may be sent at once."""
    calls = [(work.flip, (b"%d a" % number,), {}) for number in range(5)]
    server.sendall(b"".join(map(pack, calls)))
    with server.makefile("rb") as stream:
        assert [read_message(stream) for _ in calls] == [b"%d A" % n for n in range(5)]


def test_error_of_a_call_travels_in_its_place(server: socket.socket) -> None:
    """Also one of a result that cannot be pickled, and an attempt to exit."""
    with server.makefile("rb") as stream:
        for call in (
            (int, ("x",), {}),
            (threading.Lock, (), {}),
            (work.obey, (b"exit",), {}),
        ):
            server.sendall(pack(call))
            failure = read_message(stream)
            assert isinstance(failure, CallFailure)
            assert isinstance(failure.error(), Exception)
        server.sendall(pack((os.getpid, (), {})))
        assert read_message(stream) == os.getpid()


def test_end_of_calls_is_the_end(server: socket.socket) -> None:
    """The fixture looks that it returns."""
    server.shutdown(socket.SHUT_WR)
    with server.makefile("rb") as stream:
        assert read_message(stream) is NOTHING


def test_descriptor_is_copied() -> None:
    """Its owner closes it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(pack((work.flip, (b"a",), {})))
        ours.shutdown(socket.SHUT_WR)
        serve_calls_at(theirs.fileno())
        theirs.getpeername()  # it is still open
        with ours.makefile("rb") as stream:
            assert read_message(stream) == b"A"
