"""forwarding: a transport's calls reach the connection, and its answers the transport."""

import asyncio
from typing import Any

import pytest

from asyncrev.connection.forwarding import Forwarding


class Recorder(asyncio.BufferedProtocol):
    """Keeps its calls, and answers each with its name."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def note(self, name: str, *args: Any) -> Any:
        """Keep a call."""
        self.calls.append((name, args))
        return name


def recorded(name: str) -> Any:
    """Return a method that keeps its calls."""
    return lambda self, *args: self.note(name, *args)


CALLS: dict[str, tuple[Any, ...]] = {
    "connection_made": (asyncio.Transport(),),
    "get_buffer": (7,),
    "buffer_updated": (3,),
    "eof_received": (),
    "pause_writing": (),
    "resume_writing": (),
    "connection_lost": (OSError("deliberate"),),
}
for _name in CALLS:
    setattr(Recorder, _name, recorded(_name))


@pytest.mark.parametrize("name", CALLS)
def test_each_call_is_handed_on_once(name: str) -> None:
    """With its arguments; what is asked for an answer gives the connection's."""
    connection = Recorder()
    answer = getattr(Forwarding(connection), name)(*CALLS[name])
    assert connection.calls == [(name, CALLS[name])]
    assert answer == (name if name in ("get_buffer", "eof_received") else None)


def test_every_call_of_a_buffered_protocol_is_handed_on() -> None:
    """None that asyncio has is left out."""
    methods = {name for name in dir(asyncio.BufferedProtocol) if not name.startswith("_")}
    assert methods == set(CALLS)
    assert methods <= set(vars(Forwarding))
