"""protocol: what a peer's reset must not cause."""

import socket
from typing import Any

import pytest

from asyncrev import BridgeProtocol, Limits
from asyncrev.states import ConnectionState
from tests.protocol.served import gated_swapcase, reset, resets, served
from tests.support import until, wait_until

MANY = Limits(slots=64, slot_bytes=64, in_flight_entries=32)


@pytest.mark.asyncio
@resets
async def test_reset_with_many_replies_on_their_way_is_not_a_line_of_log_each(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Thirty replies meet the lost connection in one drain; asyncio would warn from the fifth."""
    gate, gated = gated_swapcase()
    async with served(gated, MANY) as server:
        client = server.connect()
        client.sendall(b"x" * 64 * 30)
        await until(
            lambda: server.connections and server.connections[0].received_bytes == 64 * 30,
            "all is received",
        )
        # Without letting the loop run, so that it meets the replies before it sees the reset.
        gate.set()
        statistics = server.bridge.statistics
        wait_until(lambda: statistics().processed == statistics().published, "all is processed")
        reset(client)
        await until(
            lambda: server.connections[0].state is ConnectionState.LOST, "the connection is lost"
        )
        await until(lambda: server.bridge.statistics().lanes == 0, "its lane is gone")
    assert "socket.send() raised exception" not in caplog.text


@pytest.mark.asyncio
@resets
async def test_reset_that_is_seen_only_by_the_end_of_stream_is_no_defect(
    monkeypatch: pytest.MonkeyPatch, loop_errors: list[dict[str, Any]]
) -> None:
    """The last reply is out, and shutdown(2) then fails with ENOTCONN: the connection is lost."""
    finish = BridgeProtocol._finish

    def finish_after_a_reset(self: BridgeProtocol) -> None:
        reset(client)
        sock: socket.socket = self._transport.get_extra_info("socket")
        wait_until(lambda: _is_not_connected(sock), "the kernel has seen the reset")
        finish(self)

    monkeypatch.setattr(BridgeProtocol, "_finish", finish_after_a_reset)
    async with served() as server:
        client = server.connect()
        await until(lambda: server.connections, "it is accepted")
        connection = server.connections[0]
        connection.drain()
        await until(lambda: connection.state is ConnectionState.LOST, "the connection is lost")
        await until(lambda: server.bridge.statistics().lanes == 0, "its lane is gone")
    assert not loop_errors


def _is_not_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return True
    return False
