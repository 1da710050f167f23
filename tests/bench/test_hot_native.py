"""hot_native: what is left to it by the native call; all else is compared in test_hot."""

import errno
import socket
import time
from collections.abc import Iterator

import pytest

from asyncrev.bench import hot_native
from asyncrev.bench.flow import RESET, Flow
from asyncrev.bench.hot_native import NativeHotFlows, _Why
from tests.bench.wire import Wire
from tests.planes import NATIVE_KERNELS

pytestmark = pytest.mark.skipif(NATIVE_KERNELS is None, reason="there is no native code")


@pytest.fixture(scope="module", autouse=True)
def _native_kernels() -> Iterator[None]:
    """The native code is tried wherever it was built."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hot_native, "KERNELS", NATIVE_KERNELS)
        yield


@pytest.fixture
def hot(wires: list[Wire]) -> tuple[NativeHotFlows, Wire]:
    """One flow that the native code serves."""
    wires.append(wire := Wire(clock=time.monotonic_ns))
    wire.start()
    wire.asked()
    flows = wire.traffic._hot
    assert isinstance(flows, NativeHotFlows)
    assert wire.flow.fd in flows
    return flows, wire


def test_row_of_a_flow_holds_while_it_is_hot(hot: tuple[NativeHotFlows, Wire]) -> None:
    """And is taken back when it leaves."""
    flows, wire = hot
    for n in range(3):
        wire.peer.sendall(wire.cycle.replies[n])
        wire.traffic.exchange(wire.epoll.poll(1), time.monotonic_ns())
        wire.asked()
    at = wire.flow.fd * 3
    assert flows._rows[at] == flows._rows[at + 2] == 3
    flows.leave(wire.flow)
    assert flows._rows[at] == -1
    assert (wire.flow.next, wire.flow.answered, wire.flow.started) == (3, 3, 4)
    assert len(wire.flow.starts) == 1


@pytest.mark.parametrize(
    ("why", "number"), [(_Why.NOT_READ, errno.ECONNRESET), (_Why.NOT_SENT, -errno.EPIPE)]
)
def test_error_of_a_call_loses_the_connection(
    hot: tuple[NativeHotFlows, Wire], why: _Why, number: int
) -> None:
    flows, wire = hot
    flows._serve_other(wire.flow.fd, 1, why, number, None, 0)
    assert wire.traffic.totals.errors[RESET] == 1
    assert wire.flow.fd == -1


def test_flows_that_are_not_hot_are_served_the_ordinary_way(
    hot: tuple[NativeHotFlows, Wire],
) -> None:
    """Beside one that is, in one call."""
    flows, wire = hot
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    with peer:
        wire.traffic.add(1, ours)
        other: Flow = wire.traffic.flows[ours.fileno()]
        peer.sendall(b"unasked")
        wire.peer.sendall(wire.cycle.replies[0])
        wire.traffic.exchange([(ours.fileno(), 1), (wire.flow.fd, 1)], time.monotonic_ns())
        assert wire.traffic.totals.messages == 1
        assert "nothing was asked" in str(wire.traffic.totals.mismatch)
        assert other.fd not in flows
