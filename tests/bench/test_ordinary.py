"""ordinary: replies in parts, messages that the kernel does not take, connections that end."""

import time

import pytest

from asyncrev.bench.flow import CLOSED, NO_CONNECTION, NO_REPLY, RESET
from tests.bench.wire import Wire
from tests.support import receive_exactly, reset


def test_reply_in_parts_is_one_reply(wires: list[Wire]) -> None:
    """And the flow is served the short way again afterwards."""
    wires.append(wire := Wire())
    wire.start()
    for n in range(3):
        assert wire.asked() == wire.cycle.requests[n]
        reply = wire.cycle.replies[n]
        for part in (reply[:1], reply[1:40], reply[40:]):
            assert wire.traffic.totals.messages == n
            wire.peer.sendall(part)
            wire.exchange()
        assert wire.traffic.totals.messages == n + 1
    assert wire.asked() == wire.cycle.requests[3]
    wire.peer.sendall(wire.cycle.replies[3])
    wire.exchange()
    assert wire.traffic.totals.messages == 4
    assert wire.traffic.totals.mismatch is None


@pytest.mark.parametrize("resets", [False, True])
def test_end_of_a_connection_is_an_error_of_its_kind(wires: list[Wire], resets: bool) -> None:
    """And what was in flight has no reply."""
    wires.append(wire := Wire(depth=3))
    wire.start()
    if resets:
        reset(wire.peer)
    else:
        receive_exactly(wire.peer, 3 * 64)
        wire.peer.close()
    wire.exchange()
    assert wire.traffic.totals.errors == {RESET if resets else CLOSED: 1, NO_REPLY: 3}
    assert not wire.traffic.flows


def test_depth_is_kept_in_flight(wires: list[Wire]) -> None:
    """Sent in one go, and refilled by as many as were answered."""
    wires.append(wire := Wire(depth=4))
    wire.start()
    assert receive_exactly(wire.peer, 4 * 64) == b"".join(wire.cycle.requests[:4])
    wire.now_ns = 500
    wire.peer.sendall(b"".join(wire.cycle.replies[:2]) + wire.cycle.replies[2][:5])
    wire.exchange()
    assert wire.flow.in_flight == 4
    assert receive_exactly(wire.peer, 2 * 64) == b"".join(wire.cycle.requests[4:6])
    assert wire.traffic.totals.notes == [5, 5]


@pytest.mark.parametrize("depth", [1, 3])
def test_messages_that_the_kernel_does_not_take_are_sent_later(
    wires: list[Wire], depth: int
) -> None:
    """Nothing of them is lost; they count from the first attempt."""
    wires.append(wire := Wire(size_bytes=8 << 20, depth=depth))
    wire.start()
    assert wire.flow.unsent is not None
    wanted = wire.cycle.sent(0, depth).tobytes()
    got = bytearray()
    wire.peer.setblocking(False)
    end_s = time.monotonic() + 10
    while len(got) < len(wanted) and time.monotonic() < end_s:
        for fd, mask in wire.epoll.poll(0.01):
            wire.traffic.exchange([(fd, mask)], 0)
        try:
            got += wire.peer.recv(1 << 20)
        except BlockingIOError:
            continue
    assert got == wanted
    assert wire.flow.unsent is None
    assert wire.epoll.poll(0) == []  # it is watched for writing no more


def test_message_that_is_due_on_a_lost_connection_is_an_error(wires: list[Wire]) -> None:
    """It is not left out."""
    wires.append(wire := Wire(rate_per_s=1_000_000.0))
    wire.start()
    wire.traffic.send_due(0)
    reset(wire.peer)
    wire.exchange()
    wire.traffic.send_due(2500)
    assert wire.traffic.totals.errors == {RESET: 1, NO_REPLY: 1, NO_CONNECTION: 2}
