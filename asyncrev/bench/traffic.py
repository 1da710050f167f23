"""The data path of a load: connections that send messages and verify the replies.

Theory of operation. In the steady state with one message in flight on plain sockets, nearly every
event is one whole reply, and the next message fits the kernel's buffer. Such flows are *hot*: three
calls each read, compare and write, and of a flow only that is kept which changes: when its message
was sent or due, and which it is. Whatever is not so plain makes a flow leave that state first
(`_leave_hot`), and is done by `ordinary`: a part of a reply, a full buffer, an error, the end of
the measurement.
"""

import os
import select
import socket
from collections.abc import Callable

from asyncrev.bench.flow import NO_CONNECTION, Flow, Totals
from asyncrev.bench.measurement import UNIT_NS, Counts, add_counts, evenly
from asyncrev.bench.messages import Cycle
from asyncrev.bench.ordinary import Ordinary
from asyncrev.bench.plan import Plan, Share
from asyncrev.bench.schedule import Schedule

__all__ = ["Traffic"]

_HOT_REPLY_BYTES = 64 * 1024  # longer ones come in parts


class Traffic:
    """All connections of one process. Thread: main.

    Attributes:
        totals: what was exchanged so far.
        flows: those that have a connection, by descriptor.
    """

    def __init__(
        self, plan: Plan, cycle: Cycle, epoll: select.epoll, clock: Callable[[], int]
    ) -> None:
        self._plan, self._cycle, self._clock = plan, cycle, clock
        self.totals = Totals()
        self._ordinary = Ordinary(plan, cycle, epoll, clock, self.totals, self._enter_hot)
        self.flows = self._ordinary.flows
        self._order: list[Flow] = []
        self._hot: dict[int, Flow] = {}
        self._is_open_loop = plan.rate_per_s is not None
        one_length = len({len(reply) for reply in cycle.replies}) == 1
        self._may_be_hot = (
            plan.depth == 1
            and not plan.tls
            and one_length
            and len(cycle.replies[0]) <= _HOT_REPLY_BYTES
        )

    # -- phases ------------------------------------------------------------------------------------

    def add(self, number: int, sock: socket.socket) -> None:
        """Take over a connection. Call it in the order of the share's numbers."""
        flow = Flow(number, sock, self._cycle)
        self._order.append(flow)
        self._ordinary.add(flow)

    def start(self, share: Share, start_ns: int, budget: int | None) -> None:
        """Start messages, after `stop` again; at most `budget` if that is not None.

        A schedule begins at `start_ns`.
        """
        totals, plan = self.totals, self._plan
        self._cool()
        totals.is_stopping = False
        totals.budget = budget
        if plan.rate_per_s is not None:
            numbers = share.connections(plan)
            totals.schedule = Schedule(plan.rate_per_s, numbers, plan.connections, start_ns)
        for flow in list(self.flows.values()):
            flow.scheduled_from = flow.released = flow.started
            self._ordinary.pump(flow)

    def begin(self, begin_ns: int) -> None:
        """Let the latencies of messages from `begin_ns` on count."""
        self.totals.begin_ns = begin_ns
        self.totals.notes.clear()
        self.totals.lags.clear()
        self._cool()  # messages in flight are older

    def stop(self) -> None:
        """Start no more messages; replies are still received."""
        self._cool()
        self.totals.is_stopping = True
        self.totals.schedule = None
        for flow in self.flows.values():
            flow.released = flow.started

    def drop_unsent(self, now_ns: int) -> Counts:
        """Forget messages that are due and were not sent; return how long they have waited.

        Call it before `stop`, which ends the schedule.
        """
        waited: Counts = {}
        schedule = self.totals.schedule
        if schedule is None:
            return waited
        self._cool()
        for flow in self.flows.values():
            number = flow.released - flow.started
            if number:
                first_ns = flow.due_ns(schedule, flow.started)
                last_ns = flow.due_ns(schedule, flow.released - 1)
                self._add_waits(waited, now_ns, first_ns, last_ns, number)
            flow.released = flow.started
        number = schedule.untaken(now_ns)
        if number:
            self._add_waits(waited, now_ns, schedule.next_ns, now_ns, number)
        return waited

    def _add_waits(
        self, waited: Counts, now_ns: int, first_ns: int, last_ns: int, number: int
    ) -> None:
        """Add the waits of messages that were due evenly between two times, if they count."""
        begin_ns = self.totals.begin_ns
        if first_ns < begin_ns and last_ns > first_ns:
            part = (last_ns - begin_ns) / (last_ns - first_ns)
            first_ns, number = begin_ns, int(number * part)
        if last_ns >= begin_ns and number > 0:
            add_counts(waited, evenly(now_ns - last_ns, now_ns - first_ns, number))

    def finish(self, *, was_awaited: bool = True) -> None:
        """Verify the ends, count what was never answered if it was awaited, and close all."""
        self._cool()
        for flow in list(self.flows.values()):
            self._ordinary.end(flow, was_awaited=was_awaited)

    @property
    def is_quiet(self) -> bool:
        """Whether no message is in flight, nor any due."""
        self._cool()
        return not any(
            flow.in_flight or flow.released > flow.started for flow in self.flows.values()
        )

    @property
    def next_ns(self) -> int | None:
        """When the next message is due; None in a closed loop, or if none may be sent."""
        schedule = self.totals.schedule
        return None if schedule is None or self.totals.budget == 0 else schedule.next_ns

    # -- messages ----------------------------------------------------------------------------------

    def send_due(self, now_ns: int) -> None:
        """Send what has become due."""
        totals, hot = self.totals, self._hot
        schedule = totals.schedule
        if schedule is None:
            return
        for index, due_ns in schedule.take(now_ns):
            if totals.budget is not None:
                if not totals.budget:
                    return
                totals.budget -= 1
            flow = self._order[index]
            if flow.fd < 0:
                totals.errors[NO_CONNECTION] += 1
                continue
            flow.released += 1
            totals.lags.append((self._clock() - due_ns) // UNIT_NS)
            if flow.fd in hot:
                if flow.sent_ns < 0:
                    self._send_hot(flow, schedule)
            elif flow.in_flight < self._plan.depth and flow.unsent is None:
                self._ordinary.pump(flow)

    def exchange(self, events: list[tuple[int, int]], woken_ns: int) -> None:
        """Receive, verify, and send the next messages. `woken_ns`: when the events were known."""
        totals = self.totals
        if self._is_open_loop:
            self._exchange_open(events, woken_ns)
        elif totals.budget is None:
            self._exchange_closed(events, woken_ns)
        elif self._hot and totals.budget >= len(events):
            totals.budget -= self._exchange_closed(events, woken_ns)
        else:
            for fd, mask in events:
                self._on_event(fd, mask, woken_ns)

    def _on_event(self, fd: int, mask: int, woken_ns: int) -> None:
        flow = self.flows.get(fd)
        if flow is None:
            self.totals.has_other_event = True
            return
        if fd in self._hot:
            self._leave_hot(flow)
        self._ordinary.on_event(flow, mask, woken_ns)

    def _exchange_closed(self, events: list[tuple[int, int]], woken_ns: int) -> int:
        """Serve events, the short way where flows are hot; return how many messages that sent."""
        hot, clock, note = self._hot, self._clock, self.totals.notes.append
        requests, replies = self._cycle.requests, self._cycle.replies
        request_bytes, variants = self._cycle.request_bytes, len(requests)
        read, write, most_bytes = os.read, os.write, len(replies[0]) + 1
        done = 0
        for fd, mask in events:
            flow = hot.get(fd)
            if flow is None:
                self._on_event(fd, mask, woken_ns)
                continue
            at = flow.next
            try:
                data = read(fd, most_bytes)
            except OSError as error:
                self._leave_hot(flow)
                self._ordinary.failed(flow, error)
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
                self._not_sent(flow, 0, error)
                continue
            if sent_bytes != request_bytes:
                self._not_sent(flow, sent_bytes)
        self._count(done)
        self.totals.sent_bytes += done * request_bytes
        return done

    def _exchange_open(self, events: list[tuple[int, int]], woken_ns: int) -> None:
        """Serve events, the short way where flows are hot."""
        hot, note, schedule = self._hot, self.totals.notes.append, self.totals.schedule
        replies = self._cycle.replies
        most_bytes = len(replies[0]) + 1
        done = 0
        for fd, mask in events:
            flow = hot.get(fd)
            if flow is None:
                self._on_event(fd, mask, woken_ns)
                continue
            try:
                data = os.read(fd, most_bytes)
            except OSError as error:
                self._leave_hot(flow)
                self._ordinary.failed(flow, error)
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
                self._send_hot(flow, schedule)
        self._count(done)

    def _count(self, done: int) -> None:
        self.totals.messages += done
        self.totals.received_bytes += done * len(self._cycle.replies[0])

    def _send_hot(self, flow: Flow, schedule: Schedule) -> None:
        """Send a message that is due, on a hot flow with none in flight."""
        flow.sent_ns = flow.due_ns(schedule, flow.answered)
        message = self._cycle.requests[flow.next]
        try:
            sent_bytes = os.write(flow.fd, message)
        except OSError as error:
            self._not_sent(flow, 0, error)
            return
        self.totals.sent_bytes += sent_bytes
        if sent_bytes != len(message):
            self._not_sent(flow, sent_bytes)

    # -- into the state of hot flows, and out of it ------------------------------------------------

    def _enter_hot(self, flow: Flow) -> None:
        if (
            self._may_be_hot
            and not self.totals.is_stopping
            and flow.unsent is None
            and flow.verifier.is_between
            and (flow.starts[0] >= self.totals.begin_ns if flow.starts else self._is_open_loop)
        ):
            flow.next = flow.verifier.next
            flow.sent_ns = flow.starts.popleft() if flow.starts else -1
            self._hot[flow.fd] = flow

    def _leave_hot(self, flow: Flow) -> None:
        del self._hot[flow.fd]
        flow.started = flow.answered
        if flow.sent_ns >= 0:
            flow.started += 1
            flow.starts.append(flow.sent_ns)
        flow.verifier.skip(flow.answered - flow.verified)
        flow.verified = flow.answered

    def _cool(self) -> None:
        """Make every flow an ordinary one, whose counts are true."""
        for flow in list(self._hot.values()):
            self._leave_hot(flow)

    def _not_plain(self, flow: Flow, data: bytes, woken_ns: int) -> None:
        self._leave_hot(flow)
        self._ordinary.received(flow, data, woken_ns)
        self._ordinary.pump(flow)

    def _not_sent(self, flow: Flow, sent_bytes: int, error: OSError | None = None) -> None:
        """Keep the rest of a hot flow's message, which the kernel did not take."""
        unsent = memoryview(self._cycle.requests[flow.next])[sent_bytes:]
        self._leave_hot(flow)
        self._ordinary.keep_unsent(flow, unsent)
        if error is not None:
            self._ordinary.failed(flow, error)
