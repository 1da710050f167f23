"""hot: flows in the steady state, and how they leave it; the native way of it is the same."""

import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncrev.bench import hot_native
from asyncrev.bench.hot import HotFlows
from asyncrev.bench.hot_native import NativeHotFlows
from asyncrev.bench.messages import make_cycle
from asyncrev.bench.plan import Plan, Share
from asyncrev.bench.traffic import Traffic
from tests.bench.wire import Wire
from tests.planes import NATIVE_KERNELS
from tests.support import DEADLINE_S


@pytest.fixture(scope="module", autouse=True)
def _native_kernels() -> Iterator[None]:
    """The native code is tried wherever it was built."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hot_native, "KERNELS", NATIVE_KERNELS)
        yield


def python_clock() -> int:
    """The real time, by a function that the native code does not know."""
    return time.monotonic_ns()


# With the second one the native code serves, where there is any.
CLOCKS = {
    "python": python_clock,
    "native": pytest.param(
        time.monotonic_ns,
        marks=pytest.mark.skipif(NATIVE_KERNELS is None, reason="there is no native code"),
    ),
}
clocks = pytest.mark.parametrize("clock", CLOCKS.values(), ids=CLOCKS)


@clocks
def test_what_the_kernel_did_not_take_of_a_hot_flow_is_counted_once(
    wires: list[Wire], clock: Callable[[], int]
) -> None:
    """A peer that answers without reading fills the buffers; the rest is sent and counted later."""
    wires.append(wire := Wire(size_bytes=60_000, clock=clock))
    wire.start()
    replies = 0
    while wire.flow.unsent is None:
        wire.peer.sendall(wire.cycle.replies[replies % len(wire.cycle.replies)])
        wire.exchange()
        replies += wire.traffic.totals.messages > replies
    assert replies > 1
    got_bytes, wanted_bytes = 0, wire.cycle.request_bytes * (replies + 1)
    wire.peer.setblocking(False)
    end_s = time.monotonic() + DEADLINE_S
    while got_bytes < wanted_bytes and time.monotonic() < end_s:
        wire.traffic.exchange(wire.epoll.poll(0.01), 0)
        try:
            got_bytes += len(wire.peer.recv(1 << 20))
        except BlockingIOError:
            continue
    assert got_bytes == wanted_bytes == wire.traffic.totals.sent_bytes


@clocks
def test_latency_is_the_time_from_the_send_to_the_poll(
    wires: list[Wire], clock: Callable[[], int]
) -> None:
    """Not to when the event was served."""
    wires.append(wire := Wire(clock=clock))
    wire.start()
    wire.asked()
    wire.peer.sendall(wire.cycle.replies[0])
    events = wire.epoll.poll(1)
    before_ns = time.monotonic_ns()
    wire.traffic.exchange(events, before_ns - 1_000_000_000)
    wire.asked()
    after_ns = time.monotonic_ns()
    wire.peer.sendall(wire.cycle.replies[1])
    woken_ns = after_ns + 5_000_000_000
    wire.traffic.exchange(wire.epoll.poll(1), woken_ns)
    assert wire.flow.fd in wire.traffic._hot
    assert (woken_ns - after_ns) // 100 <= wire.traffic.totals.notes[1]
    assert wire.traffic.totals.notes[1] <= (woken_ns - before_ns) // 100


@clocks
def test_first_message_follows_the_last_one(wires: list[Wire], clock: Callable[[], int]) -> None:
    """Of a cycle of four."""
    wires.append(wire := Wire(size_bytes=60_000, clock=clock))
    wire.start()
    assert len(wire.cycle.requests) == 4
    for n in range(10):
        assert wire.asked() == wire.cycle.requests[n % 4]
        wire.peer.sendall(wire.cycle.replies[n % 4])
        while wire.traffic.totals.messages <= n:
            wire.exchange()
    assert wire.traffic.totals.mismatch is None


@pytest.mark.skipif(NATIVE_KERNELS is None, reason="there is no native code")
def test_native_code_serves_closed_loops_with_the_real_clock() -> None:
    """Which says that the tests above and below compare two things."""
    for plan, clock, wanted in (
        (Plan(connections=1), time.monotonic_ns, NativeHotFlows),
        (Plan(connections=1), python_clock, HotFlows),
        (Plan(connections=1, rate_per_s=10.0), time.monotonic_ns, HotFlows),
    ):
        with select.epoll() as epoll:
            traffic = Traffic(plan, make_cycle(plan), epoll, clock)
            assert type(traffic._hot) is wanted


class Load:
    """Three flows whose peers follow a script."""

    CONNECTIONS = 3

    def __init__(self, clock: Callable[[], int]) -> None:
        self.plan = Plan(connections=self.CONNECTIONS, expect="echo", size_bytes=8)
        self.cycle = make_cycle(self.plan)
        self.epoll = select.epoll()
        self.traffic = Traffic(self.plan, self.cycle, self.epoll, clock)
        self.flows, self.peers, self.answered = [], [], []
        listening = socket.create_server(("127.0.0.1", 0))
        for number in range(self.CONNECTIONS):
            ours = socket.create_connection(listening.getsockname())
            ours.setblocking(False)
            peer, _ = listening.accept()
            self.traffic.add(number, ours)
            self.flows.append(list(self.traffic.flows.values())[-1])
            self.peers.append(peer)
            self.answered.append(0)
        listening.close()
        self.traffic.start(Share(), 0, None)

    def reply(self, number: int) -> bytes:
        """Return the next reply of a flow."""
        variants = len(self.cycle.replies)
        return self.cycle.replies[(number + self.answered[number]) % variants]

    def act(self, number: int, what: str) -> None:
        """Have a peer do something."""
        peer = self.peers[number]
        if peer.fileno() < 0:
            return
        reply = self.reply(number)
        if what == "whole":
            peer.sendall(reply)
            self.answered[number] += 1
        elif what == "halves":
            peer.sendall(reply[:3])
            self.poll()
            peer.sendall(reply[3:])
            self.answered[number] += 1
        elif what == "wrong":
            peer.sendall(b"\xff" + reply[1:])
        elif what == "twice":
            peer.sendall(reply + reply)
        elif what == "close":
            peer.close()
        else:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()

    def poll(self) -> None:
        """Serve what has come; over loopback it is there at once."""
        self.traffic.exchange(self.epoll.poll(0), 0)

    def seen(self) -> dict[str, Any]:
        """Return all that must not depend on who served the flows; end the load."""
        self.traffic.stop()
        totals = self.traffic.totals
        seen = {
            "messages": totals.messages,
            "bytes": (totals.sent_bytes, totals.received_bytes),
            "notes": len(totals.notes),
            "flows": [(flow.fd < 0, flow.started, flow.answered) for flow in self.flows],
            "mismatch": totals.mismatch,
            "errors": dict(totals.errors),
        }
        self.traffic.finish(was_awaited=False)
        for peer in self.peers:
            peer.close()
        self.epoll.close()
        return seen


ACTIONS = ("whole", "whole", "whole", "halves", "close", "reset", "wrong", "twice")
scripts = st.lists(
    st.lists(
        st.tuples(st.integers(0, Load.CONNECTIONS - 1), st.sampled_from(ACTIONS)),
        min_size=1,
        max_size=3,
        unique_by=lambda step: step[0],
    ),
    max_size=20,
)


@pytest.mark.skipif(NATIVE_KERNELS is None, reason="there is no native code")
@given(scripts)
@settings(deadline=None)
def test_native_code_does_what_the_python_code_does(
    script: list[list[tuple[int, str]]],
) -> None:
    """Whatever peers answer, in whatever parts, and however connections end."""
    seen = []
    for clock in (python_clock, time.monotonic_ns):
        load = Load(clock)
        for steps in script:
            for number, what in steps:
                load.act(number, what)
            load.poll()
        seen.append(load.seen())
    assert seen[0] == seen[1]
