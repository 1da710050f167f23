"""hot: flows in the steady state, and how they leave it."""

import time

from tests.bench.wire import Wire


def test_what_the_kernel_did_not_take_of_a_hot_flow_is_counted_once(wires: list[Wire]) -> None:
    """A peer that answers without reading fills the buffers; the rest is sent and counted later."""
    wires.append(wire := Wire(size_bytes=60_000))
    wire.start()
    replies = 0
    while wire.flow.unsent is None:
        wire.peer.sendall(wire.cycle.replies[replies % len(wire.cycle.replies)])
        wire.exchange()
        replies += wire.traffic.totals.messages > replies
    assert replies > 1
    got_bytes, wanted_bytes = 0, wire.cycle.request_bytes * (replies + 1)
    wire.peer.setblocking(False)
    end_s = time.monotonic() + 10
    while got_bytes < wanted_bytes and time.monotonic() < end_s:
        wire.traffic.exchange(wire.epoll.poll(0.01), 0)
        try:
            got_bytes += len(wire.peer.recv(1 << 20))
        except BlockingIOError:
            continue
    assert got_bytes == wanted_bytes == wire.traffic.totals.sent_bytes
