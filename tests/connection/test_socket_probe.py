"""socket_probe: what a descriptor tells, and that one without a socket tells nothing."""

import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from asyncrev.connection.socket_probe import (
    held_input,
    input_has_ended,
    peer_has_gone,
    reset_on_close,
    unacknowledged_bytes,
    unread_bytes,
    unsent_bytes,
)
from tests.support import until


class FakeTransport:
    """A transport of `sock` with a write buffer of `buffered_bytes`."""

    def __init__(self, sock: socket.socket | None, buffered_bytes: int = 0) -> None:
        self._sock = sock
        self._buffered_bytes = buffered_bytes

    def get_extra_info(self, name: str) -> Any:
        return self._sock if name == "socket" else None

    def get_write_buffer_size(self) -> int:
        return self._buffered_bytes


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Give both ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.asyncio
async def test_input_and_its_end_are_seen_unread(pair: tuple[socket.socket, socket.socket]) -> None:
    """Whether or not they are read."""
    ours, theirs = pair
    transport = FakeTransport(ours)
    assert held_input(transport) == (0, False)
    theirs.sendall(b"abc")
    await until(lambda: unread_bytes(transport) == 3, "it came")
    assert held_input(transport) == (3, False)
    theirs.shutdown(socket.SHUT_WR)
    await until(lambda: input_has_ended(transport), "the end came")
    assert held_input(transport) == (3, True)
    assert not peer_has_gone(transport)


@pytest.mark.asyncio
async def test_output_counts_until_the_peers_side_has_taken_it(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """But the system is not asked when it has taken everything itself."""
    ours, _ = pair
    ours.setblocking(False)
    sent_bytes = 0
    while True:
        try:
            sent_bytes += ours.send(bytes(65536))
        except BlockingIOError:
            break
    assert 0 < unacknowledged_bytes(FakeTransport(ours)) <= sent_bytes
    assert unsent_bytes(FakeTransport(ours)) == 0
    assert unsent_bytes(FakeTransport(ours, 10)) > 10


@pytest.mark.asyncio
async def test_reset_on_close_resets_and_is_seen_without_reading(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """The peer gets an error instead of an end."""
    ours, theirs = pair
    reset_on_close(FakeTransport(ours))
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == struct.pack("ii", 1, 0)
    ours.close()
    await until(lambda: peer_has_gone(FakeTransport(theirs)), "it was reset")
    assert input_has_ended(FakeTransport(theirs))
    with pytest.raises(ConnectionResetError):
        theirs.recv(1)


@pytest.mark.parametrize("is_closed", [False, True])
def test_transport_without_an_open_socket_answers_as_one_without_input(is_closed: bool) -> None:
    """As a transport of another kind, or one that is lost."""
    sock = socket.socket()
    sock.close()
    transport = FakeTransport(sock if is_closed else None, 7)
    assert held_input(transport) == (0, False)
    assert unsent_bytes(transport) == 7
    assert not peer_has_gone(transport)
    reset_on_close(transport)
