"""The data path of a load in its steady state.

Theory of operation. With one message in flight on plain sockets, nearly every event is one whole
reply, and the next message fits the kernel's buffer. Such flows are *hot*: three calls each read,
compare and write, and of a flow only that is kept which changes: when its message was sent or due,
and which it is. Whatever is not so plain makes a flow leave that state first (`leave`), and is done
by `ordinary`: a part of a reply, a full buffer, an error, the end of the measurement.
"""

import os
from collections.abc import Callable

from asyncrev.bench.flow import Flow, Totals
from asyncrev.bench.measurement import UNIT_NS
from asyncrev.bench.messages import Cycle
from asyncrev.bench.ordinary import Ordinary
from asyncrev.bench.plan import Plan
from asyncrev.bench.schedule import Schedule

__all__ = ["HotFlows"]

_MOST_REPLY_BYTES = 64 * 1024  # longer ones come in parts


class HotFlows:
    """The flows that are hot, and what is done for them. Thread: main."""

    def __init__(
        self,
        plan: Plan,
        cycle: Cycle,
        clock: Callable[[], int],
        totals: Totals,
        ordinary: Ordinary,
    ) -> None:
        """`ordinary` serves a flow when it has left."""
        self._cycle, self._clock = cycle, clock
        self._totals, self._ordinary = totals, ordinary
        self._flows: dict[int, Flow] = {}  # by descriptor
        self._is_open_loop = plan.rate_per_s is not None
        self._may_be_hot = (
            plan.depth == 1
            and not plan.tls
            and len({len(reply) for reply in cycle.replies}) == 1
            and len(cycle.replies[0]) <= _MOST_REPLY_BYTES
        )

    def __len__(self) -> int:
        return len(self._flows)

    def __contains__(self, fd: int) -> bool:
        return fd in self._flows

    # -- into the state, and out of it -------------------------------------------------------------

    def enter(self, flow: Flow) -> None:
        """Take a flow over if nothing about it is special."""
        totals = self._totals
        if (
            self._may_be_hot
            and not totals.is_stopping
            and flow.unsent is None
            and flow.verifier.is_between
            and (flow.starts[0] >= totals.begin_ns if flow.starts else self._is_open_loop)
        ):
            flow.next = flow.verifier.next
            flow.sent_ns = flow.starts.popleft() if flow.starts else -1
            self._take(flow)

    def _take(self, flow: Flow) -> None:
        self._flows[flow.fd] = flow

    def leave(self, flow: Flow) -> None:
        """Make a flow an ordinary one, whose counts are true."""
        del self._flows[flow.fd]
        flow.started = flow.answered
        if flow.sent_ns >= 0:
            flow.started += 1
            flow.starts.append(flow.sent_ns)
        flow.verifier.skip(flow.answered - flow.verified)
        flow.verified = flow.answered

    def cool(self) -> None:
        """Make every flow an ordinary one."""
        for flow in list(self._flows.values()):
            self.leave(flow)

    def on_event(self, fd: int, mask: int, woken_ns: int) -> None:
        """Serve any event the ordinary way."""
        flow = self._ordinary.flows.get(fd)
        if flow is None:
            self._totals.has_other_event = True
            return
        if fd in self._flows:
            self.leave(flow)
        self._ordinary.on_event(flow, mask, woken_ns)

    def _not_plain(self, flow: Flow, data: bytes, woken_ns: int) -> None:
        """Have other bytes than the reply verified."""
        self.leave(flow)
        self._ordinary.received(flow, data, woken_ns)
        self._ordinary.pump(flow)

    def _not_read(self, flow: Flow, error: OSError) -> None:
        self.leave(flow)
        self._ordinary.failed(flow, error)

    def _not_sent(self, flow: Flow, sent_bytes: int, error: OSError | None = None) -> None:
        """Keep the rest of a message, which the kernel did not take."""
        self.leave(flow)
        unsent = memoryview(self._cycle.requests[flow.next])[sent_bytes:]
        self._ordinary.keep_unsent(flow, unsent)
        if error is not None:
            self._ordinary.failed(flow, error)

    # -- closed loop -------------------------------------------------------------------------------

    def exchange(self, events: list[tuple[int, int]], woken_ns: int) -> int:
        """Serve events of a closed loop; return how many messages that sent to hot flows."""
        flows, clock, note = self._flows, self._clock, self._totals.notes.append
        requests, replies = self._cycle.requests, self._cycle.replies
        request_bytes, variants = self._cycle.request_bytes, len(requests)
        read, write, most_bytes = os.read, os.write, len(replies[0]) + 1
        done = missing_bytes = 0
        for fd, mask in events:
            flow = flows.get(fd)
            if flow is None:
                self.on_event(fd, mask, woken_ns)
                continue
            at = flow.next
            try:
                data = read(fd, most_bytes)
            except OSError as error:
                self._not_read(flow, error)
                continue
            if data != replies[at]:
                self._not_plain(flow, data, woken_ns)
                continue
            done += 1
            note((woken_ns - flow.sent_ns) // UNIT_NS)
            flow.answered += 1
            at += 1
            if at == variants:
                at = 0
            flow.next = at
            flow.sent_ns = clock()
            try:
                sent_bytes = write(fd, requests[at])
            except OSError as error:
                missing_bytes += request_bytes
                self._not_sent(flow, 0, error)
                continue
            if sent_bytes != request_bytes:
                missing_bytes += request_bytes - sent_bytes
                self._not_sent(flow, sent_bytes)
        self._count(done)
        self._totals.sent_bytes += done * request_bytes - missing_bytes
        return done

    def _count(self, done: int) -> None:
        self._totals.messages += done
        self._totals.received_bytes += done * len(self._cycle.replies[0])

    # -- open loop ---------------------------------------------------------------------------------

    def exchange_open(self, events: list[tuple[int, int]], woken_ns: int) -> None:
        """Serve events of an open loop."""
        flows, note, schedule = self._flows, self._totals.notes.append, self._totals.schedule
        replies = self._cycle.replies
        most_bytes = len(replies[0]) + 1
        done = 0
        for fd, mask in events:
            flow = flows.get(fd)
            if flow is None:
                self.on_event(fd, mask, woken_ns)
                continue
            try:
                data = os.read(fd, most_bytes)
            except OSError as error:
                self._not_read(flow, error)
                continue
            if data != replies[flow.next] or flow.sent_ns < 0:
                self._not_plain(flow, data, woken_ns)
                continue
            done += 1
            note((woken_ns - flow.sent_ns) // UNIT_NS)
            flow.answered += 1
            flow.next = (flow.next + 1) % len(replies)
            flow.sent_ns = -1
            if schedule is not None and flow.released > flow.answered:
                self.send(flow, schedule)
        self._count(done)

    def send(self, flow: Flow, schedule: Schedule) -> None:
        """Send a message that is due, on a hot flow with none in flight."""
        flow.sent_ns = flow.due_ns(schedule, flow.answered)
        message = self._cycle.requests[flow.next]
        try:
            sent_bytes = os.write(flow.fd, message)
        except OSError as error:
            self._not_sent(flow, 0, error)
            return
        self._totals.sent_bytes += sent_bytes
        if sent_bytes != len(message):
            self._not_sent(flow, sent_bytes)
