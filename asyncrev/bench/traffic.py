"""A load: connections that send messages and verify the replies, by its phases.

Each flow is served by one of two ways: `hot` where nothing is special, and `ordinary`, which can
all. This module leads flows from one to the other where a phase begins or ends.
"""

import select
import socket
from collections.abc import Callable

from asyncrev.bench.flow import NO_CONNECTION, Flow, Totals
from asyncrev.bench.hot_native import make_hot_flows
from asyncrev.bench.measurement import UNIT_NS, Counts, add_counts, evenly
from asyncrev.bench.messages import Cycle
from asyncrev.bench.ordinary import Ordinary
from asyncrev.bench.plan import Plan, Share
from asyncrev.bench.schedule import Schedule

__all__ = ["Traffic"]


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
        self._ordinary = Ordinary(plan, cycle, epoll, clock, self.totals)
        self._hot = make_hot_flows(plan, cycle, clock, self.totals, self._ordinary)
        self._ordinary.enter_hot = self._hot.enter
        self.flows = self._ordinary.flows
        self._order: list[Flow] = []
        self._is_open_loop = plan.rate_per_s is not None

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
        self._hot.cool()
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
        self._hot.cool()  # messages in flight are older

    def stop(self) -> None:
        """Start no more messages; replies are still received."""
        self._hot.cool()
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
        self._hot.cool()
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
        self._hot.cool()
        for flow in list(self.flows.values()):
            self._ordinary.end(flow, was_awaited=was_awaited)

    @property
    def is_quiet(self) -> bool:
        """Whether no message is in flight, nor any due."""
        self._hot.cool()
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
                    hot.send(flow, schedule)
            elif flow.in_flight < self._plan.depth and flow.unsent is None:
                self._ordinary.pump(flow)

    def exchange(self, events: list[tuple[int, int]], woken_ns: int) -> None:
        """Receive, verify, and send the next messages. `woken_ns`: when the events were known."""
        totals, hot = self.totals, self._hot
        if self._is_open_loop:
            hot.exchange_open(events, woken_ns)
        elif totals.budget is None:
            hot.exchange(events, woken_ns)
        elif hot and totals.budget >= len(events):
            totals.budget -= hot.exchange(events, woken_ns)
        else:
            for fd, mask in events:
                hot.on_event(fd, mask, woken_ns)
