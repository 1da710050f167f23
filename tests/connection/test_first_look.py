"""first_look: what a connection begins with is seen once, and nothing is lost by it."""

import asyncio
from typing import Any

import pytest

from asyncrev.connection.first_look import FirstLook
from tests.support import until


class Recording(asyncio.BufferedProtocol):
    """A connection that notes its events."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.memory = memoryview(bytearray(16))

    def connection_made(self, transport: Any) -> None:
        """Note it."""
        self.events.append(("made", transport))

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return its memory."""
        self.events.append(("buffer", sizehint))
        return self.memory

    def claimed(self, nbytes: int) -> memoryview:
        """Return the first bytes of its memory."""
        return self.memory[:nbytes]

    def buffer_updated(self, nbytes: int) -> None:
        """Note what came."""
        self.events.append(("input", bytes(self.memory[:nbytes])))

    def eof_received(self) -> bool:
        """Note it, and ask for the transport to stay open."""
        self.events.append("eof")
        return True

    def pause_writing(self) -> None:
        """Note it."""
        self.events.append("pause")

    def resume_writing(self) -> None:
        """Note it."""
        self.events.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        """Note it."""
        self.events.append(("lost", error))


class Transport:
    """Knows its protocol."""

    protocol: Any = None

    def set_protocol(self, protocol: Any) -> None:
        """Keep it."""
        self.protocol = protocol


def test_first_input_is_looked_at_before_the_connection_has_it_and_only_then() -> None:
    """From then on the transport calls the connection itself."""
    connection, transport = Recording(), Transport()

    def look(view: memoryview) -> None:
        connection.events.append(("look", bytes(view), transport.protocol is connection))

    first: Any = FirstLook(connection, connection.claimed, look)
    transport.protocol = first
    first.connection_made(transport)
    for data in (b"hello", b"again"):
        protocol = transport.protocol
        protocol.get_buffer(99)[: len(data)] = data
        protocol.buffer_updated(len(data))
    assert connection.events == [
        ("made", transport),
        ("buffer", 99),
        ("look", b"hello", True),
        ("input", b"hello"),
        ("buffer", 99),
        ("input", b"again"),
    ]


def test_events_before_the_first_input_are_handed_on() -> None:
    """With what the connection answers to them; nothing is looked at."""
    connection, looked = Recording(), [0]
    first = FirstLook(connection, connection.claimed, lambda view: looked.append(1))
    error = OSError()
    first.pause_writing()
    first.resume_writing()
    assert first.eof_received() is True
    first.connection_lost(error)
    assert connection.events == ["pause", "resume", "eof", ("lost", error)]
    assert looked == [0]


@pytest.mark.asyncio
async def test_real_transport_goes_over_to_the_connection_with_the_first_input() -> None:
    """Every byte reaches it, once."""
    loop = asyncio.get_running_loop()
    connection, seen = Recording(), bytearray()
    first = FirstLook(connection, connection.claimed, lambda view: seen.extend(view))
    listener = await loop.create_server(lambda: first, "127.0.0.1", 0)
    async with listener:
        _, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
        writer.write(b"abcd" * 100)
        writer.write_eof()
        await until(lambda: "eof" in connection.events, "the end came")
        ((_, transport),) = [event for event in connection.events if event[0] == "made"]
        assert transport.get_protocol() is connection
        transport.close()
        writer.close()
        await until(lambda: connection.events[-1] == ("lost", None), "it is lost")
    came = [event[1] for event in connection.events if event[0] == "input"]
    assert b"".join(came) == b"abcd" * 100
    assert seen == came[0]
