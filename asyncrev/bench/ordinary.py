"""The ordinary way of a flow: whatever comes, in whatever parts, over TLS too."""

import os
import select
import ssl
from collections.abc import Callable

from asyncrev.bench.flow import (
    CLOSED,
    MISMATCH,
    NO_CONNECTION,
    NO_REPLY,
    Flow,
    Totals,
    kind_of,
    would_block,
)
from asyncrev.bench.measurement import UNIT_NS
from asyncrev.bench.messages import Cycle
from asyncrev.bench.plan import Plan
from asyncrev.bench.verification import Mismatch

__all__ = ["Ordinary"]

_READ_BYTES = 256 * 1024


class Ordinary:
    """Sends and receives for flows that are not hot. Thread: main.

    Attributes:
        flows: all that have a connection, by descriptor.
        enter_hot: is told a flow that has sent what it may.
    """

    def __init__(
        self,
        plan: Plan,
        cycle: Cycle,
        epoll: select.epoll,
        clock: Callable[[], int],
        totals: Totals,
    ) -> None:
        self._depth = plan.depth
        self._is_open_loop = plan.rate_per_s is not None
        self._is_tls = plan.tls
        self._cycle, self._epoll, self._clock = cycle, epoll, clock
        self._totals = totals
        self.enter_hot: Callable[[Flow], None] = _stay
        self.flows: dict[int, Flow] = {}

    def add(self, flow: Flow) -> None:
        """Take over a connection."""
        self.flows[flow.fd] = flow
        self._epoll.register(flow.fd, select.EPOLLIN)

    def on_event(self, flow: Flow, mask: int, woken_ns: int) -> None:
        """Receive, verify, and send the next messages."""
        if mask & ~select.EPOLLOUT:
            try:
                self._receive(flow, woken_ns)
            except OSError as error:
                self.failed(flow, error)
        self.pump(flow)

    def _receive(self, flow: Flow, woken_ns: int) -> None:
        """Receive once; over TLS, all that has come, because epoll knows nothing of it."""
        if not self._is_tls:
            self.received(flow, os.read(flow.fd, _READ_BYTES), woken_ns)
            return
        sock = flow.sock
        assert isinstance(sock, ssl.SSLSocket)
        while flow.fd >= 0:
            self.received(flow, sock.recv(_READ_BYTES), woken_ns)
            if flow.fd < 0 or not sock.pending():
                return

    def received(self, flow: Flow, data: bytes, woken_ns: int) -> None:
        """Verify what came; without any bytes, the server has ended the connection."""
        if not data:
            self._lose(flow, CLOSED)
            return
        totals = self._totals
        totals.received_bytes += len(data)
        try:
            done = flow.verifier.feed(data, flow.in_flight)
        except Mismatch as error:
            self._note_mismatch(flow, error)
            return
        for _ in range(done):
            start_ns = flow.starts.popleft()
            if start_ns >= totals.begin_ns:
                totals.notes.append((woken_ns - start_ns) // UNIT_NS)
        totals.messages += done
        flow.answered += done
        flow.verified = flow.answered

    def pump(self, flow: Flow) -> None:
        """Send what may be sent now."""
        if flow.fd < 0 or (flow.unsent is not None and not self._flush(flow)):
            return
        totals = self._totals
        if totals.mismatch is not None:
            return
        may = self._depth - flow.in_flight
        if self._is_open_loop:
            may = min(may, flow.released - flow.started)
        elif totals.is_stopping:
            may = 0
        elif totals.budget is not None:
            may = min(may, totals.budget)
            totals.budget -= max(0, may)
        if may > 0:
            schedule = totals.schedule
            if schedule is not None:
                messages = range(flow.started, flow.started + may)
                flow.starts.extend([flow.due_ns(schedule, one) for one in messages])
            else:
                flow.starts.extend([self._clock()] * may)
            flow.unsent = self._cycle.sent(flow.first + flow.started, may)
            flow.started += may
            if not self._flush(flow, is_watched=False):
                return
        self.enter_hot(flow)

    def _flush(self, flow: Flow, *, is_watched: bool = True) -> bool:
        """Send what is left of messages; return whether nothing is."""
        assert flow.unsent is not None
        try:
            if self._is_tls:
                sent_bytes = flow.sock.send(flow.unsent)
            else:
                sent_bytes = os.write(flow.fd, flow.unsent)
        except OSError as error:
            if not would_block(error):
                self.failed(flow, error)
                return False
            sent_bytes = 0
        self._totals.sent_bytes += sent_bytes
        if sent_bytes == len(flow.unsent):
            flow.unsent = None
            if is_watched:
                self._epoll.modify(flow.fd, select.EPOLLIN)
            return True
        flow.unsent = flow.unsent[sent_bytes:]
        if not is_watched:
            self._watch(flow)
        return False

    def keep_unsent(self, flow: Flow, unsent: memoryview) -> None:
        """Send `unsent` when the kernel takes it."""
        flow.unsent = unsent
        self._watch(flow)

    def _watch(self, flow: Flow) -> None:
        self._epoll.modify(flow.fd, select.EPOLLIN | select.EPOLLOUT)

    def failed(self, flow: Flow, error: OSError) -> None:
        """Lose the connection, unless the call has only to be made again."""
        if not would_block(error):
            self._lose(flow, kind_of(error))

    def end(self, flow: Flow, *, was_awaited: bool) -> None:
        """Verify the end of a flow, count messages without a reply that was awaited, and close."""
        if flow.in_flight:
            if was_awaited:
                self._totals.errors[NO_REPLY] += flow.in_flight
        elif self._totals.mismatch is None:
            try:
                flow.verifier.finish()
            except Mismatch as error:
                self._note_mismatch(flow, error)
        self._close(flow)

    def _note_mismatch(self, flow: Flow, error: Mismatch) -> None:
        if self._totals.mismatch is None:
            self._totals.mismatch = f"connection {flow.number}, {error}"
        self._totals.errors[MISMATCH] += 1

    def _lose(self, flow: Flow, kind: str) -> None:
        errors = self._totals.errors
        errors[kind] += 1
        if flow.in_flight:
            errors[NO_REPLY] += flow.in_flight
        if flow.released > flow.started:
            errors[NO_CONNECTION] += flow.released - flow.started
        self._close(flow)

    def _close(self, flow: Flow) -> None:
        if flow.fd >= 0:
            del self.flows[flow.fd]
            self._epoll.unregister(flow.fd)
            flow.fd = -1
            flow.sock.close()


def _stay(flow: Flow) -> None:
    """Leave a flow ordinary."""
