"""first_look: the first input is seen once; everything else goes to the connection."""

import asyncio
from typing import Any

from asyncrev.connection.first_look import FirstLook


class Connection(asyncio.BufferedProtocol):
    """Notes its calls."""

    def __init__(self, calls: list[Any]) -> None:
        self.calls = calls
        self.buffer = memoryview(bytearray(b"input..."))

    def connection_made(self, transport: Any) -> None:
        self.calls.append(("made", transport))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.calls.append(("updated", nbytes))

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return True

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.calls.append(("lost", error))


class FakeTransport(asyncio.Transport):
    """Notes who its protocol is."""

    def __init__(self, calls: list[Any]) -> None:
        super().__init__()
        self.calls = calls

    def set_protocol(self, protocol: Any) -> None:
        self.calls.append(("protocol", protocol))


def test_first_input_is_looked_at_before_the_connection_gets_it() -> None:
    """From then on the transport calls the connection itself."""
    calls: list[Any] = []
    connection, transport = Connection(calls), FakeTransport(calls)
    look = FirstLook(
        connection,
        lambda nbytes: connection.buffer[:nbytes],
        lambda view: calls.append(("looked", bytes(view))),
    )
    look.connection_made(transport)
    assert look.get_buffer(-1) is connection.buffer
    look.buffer_updated(5)
    assert calls == [
        ("made", transport),
        ("protocol", connection),
        ("looked", b"input"),
        ("updated", 5),
    ]


def test_other_events_are_handed_on() -> None:
    """A connection may end, or its peer be slow, before it has said anything."""
    calls: list[Any] = []
    look = FirstLook(Connection(calls), lambda nbytes: memoryview(b""), lambda view: None)
    look.pause_writing()
    look.resume_writing()
    assert look.eof_received() is True
    error = ConnectionResetError()
    look.connection_lost(error)
    assert calls == ["pause", "resume", "eof", ("lost", error)]
