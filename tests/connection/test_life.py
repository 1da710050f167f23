"""life: what is known of a connection, and its end at once; tests/protocol has all other ends."""

import logging
from typing import Any
from unittest.mock import Mock

import pytest

from asyncrev import Bridge, Limits, Reverse
from asyncrev.connection.life import ConnectionLife
from asyncrev.connection.settings import checked_settings
from asyncrev.states import ConnectionEvent, ConnectionState


class Transport:
    """Notes how often it is aborted; it has a peer, and nothing to write."""

    def __init__(self) -> None:
        self.aborted = 0

    def get_extra_info(self, name: str) -> Any:
        return ("192.0.2.1", 4000) if name == "peername" else None

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.aborted += 1


@pytest.fixture
def life() -> ConnectionLife:
    """A connection that nothing has happened to; no test here needs its bridge."""
    limits, bridge = Limits(), Mock(spec=Bridge)
    return ConnectionLife(bridge, checked_settings(Reverse, "raw", limits, limits, None))


def test_new_connection_has_neither_peer_nor_bytes(life: ConnectionLife) -> None:
    """Its statistics can be asked for at any time, also outside a loop."""
    said = life.statistics()
    assert (said.info, said.state, said.open_s) == (None, ConnectionState.NEW, 0.0)
    assert (said.received_bytes, said.replied_bytes, said.in_flight_bytes) == (0, 0, 0)
    assert (life.info, life.abort_reason) == (None, None)


def test_first_reason_of_an_abort_stands(
    life: ConnectionLife, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once; the transport is aborted each time, because that may have to be seen."""
    transport = life._transport = Transport()
    life._move(ConnectionEvent.MADE)
    with caplog.at_level(logging.WARNING, logger="asyncrev"):
        life.abort("too slow", None)
        life.abort("unwanted", None)
    assert (life.abort_reason, transport.aborted) == ("too slow", 2)
    assert [record.getMessage() for record in caplog.records] == [
        "192.0.2.1:4000: aborted: too slow"
    ]


def test_lost_connection_is_not_aborted(life: ConnectionLife) -> None:
    """There is nothing left of it."""
    transport = life._transport = Transport()
    life._move(ConnectionEvent.MADE)
    life._move(ConnectionEvent.LOST)
    life.abort("too slow", None)
    assert (life.abort_reason, transport.aborted) == (None, 0)
