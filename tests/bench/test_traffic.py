"""traffic: what connections send and receive, over sockets that the test holds the other end of."""

import select
import socket
import time
from collections.abc import Iterator

import pytest

from asyncrev.bench.messages import Cycle, make_cycle
from asyncrev.bench.plan import Plan, Share
from asyncrev.bench.traffic import CLOSED, NO_CONNECTION, NO_REPLY, RESET, Traffic
from tests.support import receive_exactly, reset


class Wire:
    """One flow and its peer's end."""

    def __init__(self, **settings: object) -> None:
        self.plan = Plan(connections=1, expect="echo", **settings)  # type: ignore[arg-type]
        self.cycle: Cycle = make_cycle(self.plan)
        self.epoll = select.epoll()
        self.now_ns = 0
        self.traffic = Traffic(self.plan, self.cycle, self.epoll, lambda: self.now_ns)
        listening = socket.create_server(("127.0.0.1", 0))
        ours = socket.create_connection(listening.getsockname())
        ours.setblocking(False)
        self.peer, _ = listening.accept()
        self.peer.settimeout(10)
        listening.close()
        self.traffic.add(0, ours)
        (self.flow,) = self.traffic.flows.values()

    def start(self, start_ns: int = 0) -> None:
        self.traffic.start(self.plan, Share(), start_ns)

    def exchange(self) -> None:
        """Serve the events that there are within a second."""
        self.traffic.exchange(self.epoll.poll(1), self.now_ns)

    def asked(self) -> bytes:
        return receive_exactly(self.peer, self.cycle.request_bytes)

    def close(self) -> None:
        self.traffic.finish()
        self.peer.close()
        self.epoll.close()


@pytest.fixture
def wires() -> Iterator[list[Wire]]:
    made: list[Wire] = []
    yield made
    for wire in made:
        wire.close()


def test_next_message_is_sent_when_the_reply_is_whole(wires: list[Wire]) -> None:
    """Its latency is from the send to the poll that knew of the reply."""
    wires.append(wire := Wire())
    wire.start()
    for n in range(5):
        assert wire.asked() == wire.cycle.requests[n]
        wire.now_ns += 1000
        wire.peer.sendall(wire.cycle.replies[n])
        wire.exchange()
    assert wire.traffic.notes == [10] * 5
    assert wire.traffic.messages == 5
    assert wire.traffic.sent_bytes == 6 * 64
    assert wire.traffic.received_bytes == 5 * 64


def test_reply_in_parts_is_one_reply(wires: list[Wire]) -> None:
    """And the flow is served the short way again afterwards."""
    wires.append(wire := Wire())
    wire.start()
    for n in range(3):
        assert wire.asked() == wire.cycle.requests[n]
        reply = wire.cycle.replies[n]
        for part in (reply[:1], reply[1:40], reply[40:]):
            assert wire.traffic.messages == n
            wire.peer.sendall(part)
            wire.exchange()
        assert wire.traffic.messages == n + 1
    assert wire.asked() == wire.cycle.requests[3]
    wire.peer.sendall(wire.cycle.replies[3])
    wire.exchange()
    assert wire.traffic.messages == 4
    assert wire.traffic.mismatch is None


@pytest.mark.parametrize("parts", [[64], [10, 54]])
def test_wrong_reply_is_a_mismatch_with_its_offset(wires: list[Wire], parts: list[int]) -> None:
    """Whichever way the flow is served."""
    wires.append(wire := Wire())
    wire.start()
    wire.asked()
    wire.peer.sendall(wire.cycle.replies[0])
    wire.exchange()
    wrong = bytearray(wire.cycle.replies[1])
    wrong[20] ^= 1
    for nbytes in parts:
        wire.peer.sendall(wrong[:nbytes])
        del wrong[:nbytes]
        wire.exchange()
    assert wire.traffic.mismatch is not None
    assert wire.traffic.mismatch.startswith("connection 0, byte 84 of the replies: expected ")
    assert wire.traffic.errors["mismatch"] == 1


def test_more_than_was_asked_for_is_a_mismatch(wires: list[Wire]) -> None:
    """Two replies to one message."""
    wires.append(wire := Wire())
    wire.start()
    wire.asked()
    wire.peer.sendall(wire.cycle.replies[0] + wire.cycle.replies[1])
    wire.exchange()
    assert "nothing was asked" in str(wire.traffic.mismatch)


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
    assert wire.traffic.errors == {RESET if resets else CLOSED: 1, NO_REPLY: 3}
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
    assert wire.traffic.notes == [5, 5]


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


def test_open_loop_counts_from_the_time_that_messages_were_due(wires: list[Wire]) -> None:
    """However late the replies are, all that was due is sent, and nothing is omitted."""
    wires.append(wire := Wire(rate_per_s=1_000_000.0))
    wire.start(start_ns=1000)
    assert wire.traffic.next_ns == 1000
    wire.now_ns = 4500
    wire.traffic.send_due(4500)  # those of 1000, 2000, 3000 and 4000; one may be in flight
    assert wire.traffic.lags == [35]
    assert wire.flow.released == 4
    wire.now_ns = 10_000
    for n in range(3):
        assert wire.asked() == wire.cycle.requests[n]
        wire.peer.sendall(wire.cycle.replies[n])
        wire.exchange()
    assert wire.traffic.notes == [90, 80, 70]
    assert wire.traffic.lags == [35]  # the server held up the others, not this program
    assert not wire.traffic.is_quiet
    wire.traffic.send_due(10_000)
    assert wire.traffic.drop_unsent(12_000) == [7000, 6000, 5000, 4000, 3000, 2000]


def test_open_loop_sends_at_once_when_nothing_is_in_flight(wires: list[Wire]) -> None:
    """And a reply to nothing is a mismatch then, too."""
    wires.append(wire := Wire(rate_per_s=1_000_000.0))
    wire.start()
    for n in range(4):
        wire.now_ns = 1000 * n + 300
        wire.traffic.send_due(wire.now_ns)
        assert wire.asked() == wire.cycle.requests[n]
        wire.peer.sendall(wire.cycle.replies[n])
        wire.exchange()
    assert wire.traffic.lags == [3, 3, 3, 3]
    assert wire.traffic.notes == [3, 3, 3, 3]
    assert wire.traffic.is_quiet
    wire.peer.sendall(wire.cycle.replies[4])
    wire.exchange()
    assert "nothing was asked" in str(wire.traffic.mismatch)


def test_message_that_is_due_on_a_lost_connection_is_an_error(wires: list[Wire]) -> None:
    """It is not left out."""
    wires.append(wire := Wire(rate_per_s=1_000_000.0))
    wire.start()
    wire.traffic.send_due(0)
    reset(wire.peer)
    wire.exchange()
    wire.traffic.send_due(2500)
    assert wire.traffic.errors == {RESET: 1, NO_REPLY: 1, NO_CONNECTION: 2}


def test_budget_and_stop_end_the_messages(wires: list[Wire]) -> None:
    """Replies are still received, and the sum is exact."""
    wires.append(wire := Wire())
    wire.traffic.resume(wire.plan, Share(), 0, 3)
    for n in range(3):
        assert wire.asked() == wire.cycle.requests[n]
        wire.peer.sendall(wire.cycle.replies[n])
        wire.exchange()
    assert (wire.flow.started, wire.flow.answered, wire.traffic.budget) == (3, 3, 0)
    assert wire.traffic.is_quiet
    wire.traffic.resume(wire.plan, Share(), 0, None)
    wire.traffic.stop()
    assert wire.asked() == wire.cycle.requests[3]
    wire.peer.sendall(wire.cycle.replies[3])
    wire.exchange()
    assert (wire.flow.started, wire.flow.answered) == (4, 4)


def test_older_messages_have_no_latency_that_counts(wires: list[Wire]) -> None:
    """Those of the warm-up."""
    wires.append(wire := Wire())
    wire.start()
    wire.now_ns = 1000
    wire.traffic.begin(1000)
    for n in range(2):
        wire.asked()
        wire.now_ns += 700
        wire.peer.sendall(wire.cycle.replies[n])
        wire.exchange()
    assert wire.traffic.notes == [7]
    assert wire.traffic.messages == 2
