"""input_drain: what has arrived is still read, then the input ends, once."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from asyncrev.connection.input_drain import TLS_HELD_BYTES, TLS_QUIET_ITERATIONS, InputDrain
from asyncrev.connection.reading import NO_CREDIT, Reading
from asyncrev.states import InputState


class SocketTransport:
    """A transport of `sock` that a test reads by hand."""

    def __init__(self, sock: socket.socket, *, tls: bool) -> None:
        self._info = {"socket": sock, "sslcontext": object() if tls else None}

    def get_extra_info(self, name: str) -> object:
        return self._info[name]

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Connection:
    """A drain over one end of a socket pair, its peer, and how often the input was ended."""

    def __init__(self, *, tls: bool = False) -> None:
        self.sock, self.peer = socket.socketpair()
        self.reading = Reading()
        transport: Any = SocketTransport(self.sock, tls=tls)
        self.reading.attach(transport)
        self.drain = InputDrain(self.reading)
        self.ends = 0

    def start(self) -> None:
        self.drain.start(self.end_input)

    def look(self) -> None:
        self.drain.look(self.end_input)

    def end_input(self) -> None:
        assert self.drain.state is InputState.ENDED
        self.ends += 1

    def receive(self, nbytes: int) -> None:
        """Do what the protocol does with a chunk."""
        self.drain.left_bytes -= len(self.sock.recv(nbytes))
        self.look()

    def close(self) -> None:
        self.sock.close()
        self.peer.close()


@pytest.fixture
def plain() -> Iterator[Connection]:
    """Give a connection without TLS."""
    connection = Connection()
    yield connection
    connection.close()


@pytest.fixture
def tls() -> Iterator[Connection]:
    """Give one that says that it is TLS."""
    connection = Connection(tls=True)
    yield connection
    connection.close()


def test_connection_without_input_ends_at_once_and_once(plain: Connection) -> None:
    """Starting, looking and ending again change nothing."""
    plain.start()
    plain.start()
    plain.look()
    plain.drain.end()
    assert (plain.ends, plain.drain.state) == (1, InputState.ENDED)


def test_input_ends_when_what_had_arrived_was_received(plain: Connection) -> None:
    """What comes later is not waited for."""
    plain.peer.sendall(b"x" * 100)
    plain.start()
    assert plain.drain.left_bytes == 100
    plain.peer.sendall(b"late" * 10)
    plain.receive(60)
    assert (plain.ends, plain.drain.state) == (0, InputState.DRAINING)
    plain.receive(60)
    assert (plain.ends, plain.drain.left_bytes) == (1, -20)


def test_input_that_was_read_by_another_way_ends_at_the_next_look(plain: Connection) -> None:
    """What is left by count is not there any more."""
    plain.peer.sendall(b"x" * 100)
    plain.start()
    plain.look()
    assert plain.ends == 0
    plain.sock.recv(100)
    plain.look()
    assert plain.ends == 1


def test_look_without_a_drain_ends_nothing(plain: Connection) -> None:
    """Credits and sweeps look at every connection."""
    plain.look()
    assert (plain.ends, plain.drain.state) == (0, InputState.OPEN)


@pytest.mark.parametrize("first", ["end", "end_by_peer"])
def test_input_that_has_ended_is_not_drained(plain: Connection, first: str) -> None:
    """Its end is told by who ended it."""
    plain.peer.sendall(b"x")
    getattr(plain.drain, first)()
    state = plain.drain.state
    plain.start()
    plain.look()
    assert (plain.ends, plain.drain.state) == (0, state)


def test_peers_end_is_known_in_every_state_and_stays() -> None:
    """Whoever ended the input first, nothing more can come; so no lingering is needed."""
    for name in ("open", "draining", "ended", "ended by the peer"):
        connection = Connection()
        connection.peer.sendall(b"x")
        if name == "draining":
            connection.start()
        elif name == "ended":
            connection.drain.end()
        elif name == "ended by the peer":
            connection.drain.end_by_peer()
        assert connection.drain.state is InputState(name)
        connection.drain.end_by_peer()
        connection.drain.end()
        assert connection.drain.state is InputState.PEER_ENDED
        connection.close()


async def iterations_until_end(connection: Connection) -> int:
    """Return how many loop iterations pass until the input ends, at most ten."""
    for count in range(10):
        if connection.ends:
            return count
        await asyncio.sleep(0)
    return 10


async def start_tls(connection: Connection) -> int:
    connection.start()
    assert connection.drain.left_bytes == TLS_HELD_BYTES
    return await iterations_until_end(connection)


def test_tls_input_ends_after_some_quiet_iterations(tls: Connection) -> None:
    """Nothing says what TLS holds, but it would have handed it on by then."""
    assert asyncio.run(start_tls(tls)) == TLS_QUIET_ITERATIONS


@pytest.mark.parametrize("what", ["input", "pause", "unread", "end by the peer"])
def test_tls_that_is_not_quiet_is_looked_at_later(tls: Connection, what: str) -> None:
    """After input, during a pause, and while the operating system holds input."""

    async def main() -> int:
        tls.start()
        await asyncio.sleep(0)
        if what == "input":
            tls.drain.left_bytes -= 1
        elif what == "pause":
            tls.reading.pause(NO_CREDIT)
        elif what == "unread":
            tls.peer.sendall(b"x")
        else:
            tls.drain.end_by_peer()
        assert await iterations_until_end(tls) == 10
        if what == "pause":
            tls.reading.resume(NO_CREDIT)
        elif what == "unread":
            tls.sock.recv(1)
        tls.look()
        return await iterations_until_end(tls)

    assert asyncio.run(main()) == (10 if what == "end by the peer" else TLS_QUIET_ITERATIONS)


def test_tls_that_hands_on_more_than_it_can_hold_ends(tls: Connection) -> None:
    """A peer that sends without a pause cannot keep a drain from its end."""

    async def main() -> None:
        tls.start()
        tls.drain.left_bytes -= TLS_HELD_BYTES
        tls.look()

    asyncio.run(main())
    assert tls.ends == 1
