"""traffic: what connections send and receive, over sockets that the test holds the other end of."""

import pytest

from asyncrev.bench.plan import Share
from tests.bench.wire import Wire


def test_next_message_is_sent_when_the_reply_is_whole(wires: list[Wire]) -> None:
    """Its latency is from the send to the poll that knew of the reply."""
    wires.append(wire := Wire())
    wire.start()
    for n in range(5):
        assert wire.asked() == wire.cycle.requests[n]
        wire.now_ns += 1000
        wire.peer.sendall(wire.cycle.replies[n])
        wire.exchange()
    assert wire.traffic.totals.notes == [10] * 5
    assert wire.traffic.totals.messages == 5
    assert wire.traffic.totals.sent_bytes == 6 * 64
    assert wire.traffic.totals.received_bytes == 5 * 64


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
    assert wire.traffic.totals.mismatch is not None
    assert wire.traffic.totals.mismatch.startswith(
        "connection 0, byte 84 of the replies: expected "
    )
    assert wire.traffic.totals.errors["mismatch"] == 1


def test_more_than_was_asked_for_is_a_mismatch(wires: list[Wire]) -> None:
    """Two replies to one message."""
    wires.append(wire := Wire())
    wire.start()
    wire.asked()
    wire.peer.sendall(wire.cycle.replies[0] + wire.cycle.replies[1])
    wire.exchange()
    assert "nothing was asked" in str(wire.traffic.totals.mismatch)


def test_open_loop_counts_from_the_time_that_messages_were_due(wires: list[Wire]) -> None:
    """However late the replies are, all that was due is sent, and nothing is omitted."""
    wires.append(wire := Wire(rate_per_s=1_000_000.0))
    wire.start(start_ns=1000)
    assert wire.traffic.next_ns == 1000
    wire.now_ns = 4500
    wire.traffic.send_due(4500)  # those of 1000, 2000, 3000 and 4000; one may be in flight
    assert wire.traffic.totals.lags == [35, 25, 15, 5]  # nobody looked before
    assert wire.flow.released == 4
    wire.now_ns = 10_000
    for n in range(3):
        assert wire.asked() == wire.cycle.requests[n]
        wire.peer.sendall(wire.cycle.replies[n])
        wire.exchange()
    assert wire.traffic.totals.notes == [90, 80, 70]
    assert len(wire.traffic.totals.lags) == 4
    assert not wire.traffic.is_quiet
    wire.traffic.send_due(10_000)
    assert wire.traffic.drop_unsent(12_000) == {
        70: 1, 60: 1, 50: 1, 40: 1, 30: 1, 20: 1, 10: 1, 0: 1
    }  # fmt: skip


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
    assert wire.traffic.totals.lags == [3, 3, 3, 3]
    assert wire.traffic.totals.notes == [3, 3, 3, 3]
    assert wire.traffic.is_quiet
    wire.peer.sendall(wire.cycle.replies[4])
    wire.exchange()
    assert "nothing was asked" in str(wire.traffic.totals.mismatch)


def test_budget_and_stop_end_the_messages(wires: list[Wire]) -> None:
    """Replies are still received, and the sum is exact."""
    wires.append(wire := Wire())
    wire.traffic.start(Share(), 0, 3)
    for n in range(3):
        assert wire.asked() == wire.cycle.requests[n]
        wire.peer.sendall(wire.cycle.replies[n])
        wire.exchange()
    assert (wire.flow.started, wire.flow.answered, wire.traffic.totals.budget) == (3, 3, 0)
    assert wire.traffic.is_quiet
    wire.traffic.start(Share(), 0, None)
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
    assert wire.traffic.totals.notes == [7]
    assert wire.traffic.totals.messages == 2
