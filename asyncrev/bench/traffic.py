"""The data path of a load: connections that send messages and verify the replies.

Theory of operation. A *flow* is a connection with its place in the cycle of messages. In the steady
state with one message in flight on plain sockets, nearly every event is one whole reply, and the
next message fits the kernel's buffer. Such flows are *hot*: `_exchange_hot` reads, compares and
writes for all of them with three calls each, and keeps of a flow only when its message was sent or
due, and which it is. Whatever is not so plain makes a flow leave that state first (`_leave_hot`): a
part of a reply, a full buffer, an error, the end of the measurement.
"""

import collections
import os
import select
import socket
import ssl
from collections.abc import Callable

from asyncrev.bench.measurement import UNIT_NS
from asyncrev.bench.messages import Cycle
from asyncrev.bench.plan import Plan, Share
from asyncrev.bench.schedule import Schedule
from asyncrev.bench.verification import Mismatch, verifier

__all__ = ["CLOSED", "NO_CONNECTION", "NO_REPLY", "RESET", "Flow", "Traffic"]

# Kinds of errors.
CLOSED = "closed"  # the server ended a connection
RESET = "reset"  # or reset it
TLS = "tls"
NO_REPLY = "no_reply"  # a message had none within the time limit
NO_CONNECTION = "no_connection"  # a message was due on a connection that was lost

_READ_BYTES = 256 * 1024
_HOT_REPLY_BYTES = 64 * 1024  # longer ones come in parts


class Flow:
    """One connection.

    Attributes:
        number: of the connection, among those of all processes.
        started, answered: how many messages were sent, and how many replies were whole. Those
            between are in flight. While the flow is hot, `started` is out of date.
        released: how many messages were sent or due so far; open loop only.
        scheduled_from: the first message of the schedule; open loop only.
        starts: when each message in flight was sent or due; empty while the flow is hot.
        unsent: what the kernel did not take of messages that count as sent.
        next: while it is hot, the message that is in flight or the next to be.
        sent_ns: while it is hot, when the message in flight was sent or due; -1 without one.
    """

    __slots__ = (
        "answered",
        "fd",
        "first",
        "next",
        "number",
        "released",
        "scheduled_from",
        "sent_ns",
        "sock",
        "started",
        "starts",
        "unsent",
        "verified",
        "verifier",
    )

    def __init__(self, number: int, sock: socket.socket, cycle: Cycle) -> None:
        self.number = number
        self.sock = sock
        self.fd = sock.fileno()
        self.first = number % len(cycle.requests)
        self.verifier = verifier(cycle, number)
        self.started = self.answered = self.verified = 0
        self.released = self.scheduled_from = 0
        self.starts: collections.deque[int] = collections.deque()
        self.unsent: memoryview | None = None
        self.next = 0
        self.sent_ns = 0

    @property
    def in_flight(self) -> int:
        """How many messages have no reply yet."""
        return self.started - self.answered

    def due_ns(self, schedule: Schedule, message: int) -> int:
        """Return when a message of this connection is due."""
        return schedule.due_ns(self.number, message - self.scheduled_from)


class Traffic:
    """All connections of one process. Thread: main.

    Attributes:
        flows: by descriptor.
        messages, sent_bytes, received_bytes: how much was exchanged so far.
        notes: latencies in units of 100 ns that nobody has counted yet.
        lags: the same of delays of messages by this program.
        errors: how many there were of each kind.
        mismatch: what was wrong with a reply, or None.
        begin_ns: only messages from then on have latencies that count.
        budget: how many messages may still be started, or None.
    """

    def __init__(
        self, plan: Plan, cycle: Cycle, epoll: select.epoll, clock: Callable[[], int]
    ) -> None:
        self._cycle = cycle
        self._depth = plan.depth
        self._epoll = epoll
        self._clock = clock
        self._is_open_loop = plan.rate_per_s is not None
        self._is_tls = plan.tls
        self._schedule: Schedule | None = None
        self._order: list[Flow] = []
        self._hot: dict[int, Flow] = {}
        one_length = len({len(reply) for reply in cycle.replies}) == 1
        self._may_be_hot = (
            plan.depth == 1
            and not plan.tls
            and one_length
            and len(cycle.replies[0]) <= _HOT_REPLY_BYTES
        )
        self._is_stopping = False
        self.flows: dict[int, Flow] = {}
        self.messages = self.sent_bytes = self.received_bytes = 0
        self.notes: list[int] = []
        self.lags: list[int] = []
        self.errors: collections.Counter[str] = collections.Counter()
        self.mismatch: str | None = None
        self.begin_ns = 0
        self.budget: int | None = None

    def add(self, number: int, sock: socket.socket) -> None:
        """Take over a connection."""
        flow = Flow(number, sock, self._cycle)
        self.flows[flow.fd] = flow
        self._order.append(flow)
        self._epoll.register(flow.fd, select.EPOLLIN)

    def start(self, plan: Plan, share: Share, start_ns: int) -> None:
        """Send the first messages, or begin to follow the schedule."""
        self.resume(plan, share, start_ns, None)

    def stop(self) -> None:
        """Start no more messages; replies are still received."""
        self._is_stopping = True
        self._schedule = None
        self._cool()
        for flow in self.flows.values():
            flow.released = flow.started

    def resume(self, plan: Plan, share: Share, start_ns: int, budget: int | None) -> None:
        """Start messages, after `stop` again; at most `budget` if that is not None.

        A schedule begins at `start_ns`.
        """
        self._is_stopping = False
        self.budget = budget
        if plan.rate_per_s is not None:
            numbers = share.connections(plan)
            self._schedule = Schedule(plan.rate_per_s, numbers, plan.connections, start_ns)
        self._cool()
        for flow in list(self.flows.values()):
            flow.scheduled_from = flow.released = flow.started
            self._pump(flow)

    def begin(self, begin_ns: int) -> None:
        """Let the latencies of messages from `begin_ns` on count."""
        self.begin_ns = begin_ns
        self.notes.clear()
        self.lags.clear()
        self._cool()  # messages in flight are older

    @property
    def next_ns(self) -> int | None:
        """When the next message is due; None in a closed loop, or if none may be sent."""
        if self._schedule is None or self.budget == 0:
            return None
        return self._schedule.next_ns

    @property
    def is_quiet(self) -> bool:
        """Whether no message is in flight, nor any due."""
        self._cool()
        return not any(
            flow.in_flight or flow.released > flow.started for flow in self.flows.values()
        )

    def drop_unsent(self, now_ns: int) -> list[int]:
        """Forget messages that are due and were not sent; return how long each has waited, in ns.

        Call it before `stop`, which ends the schedule.
        """
        waited: list[int] = []
        schedule = self._schedule
        if schedule is None:
            return waited
        self._cool()
        for flow in self.flows.values():
            for message in range(flow.started, flow.released):
                due_ns = flow.due_ns(schedule, message)
                if due_ns >= self.begin_ns:
                    waited.append(now_ns - due_ns)
            flow.released = flow.started
        return waited

    def send_due(self, now_ns: int) -> None:
        """Send what has become due."""
        schedule = self._schedule
        if schedule is None:
            return
        for index in schedule.take(now_ns):
            if self.budget is not None:
                if not self.budget:
                    return
                self.budget -= 1
            flow = self._order[index]
            if flow.fd < 0:
                self.errors[NO_CONNECTION] += 1
                continue
            flow.released += 1
            if flow.fd in self._hot:
                if flow.sent_ns < 0:
                    self._send_hot(flow, schedule)
            elif flow.in_flight < self._depth and flow.unsent is None:
                due_ns = flow.due_ns(schedule, flow.started)
                self.lags.append((self._clock() - due_ns) // UNIT_NS)
                self._pump(flow)

    def exchange(self, events: list[tuple[int, int]], woken_ns: int) -> None:
        """Receive, verify, and send the next messages. `woken_ns`: when the events were known."""
        if self._is_open_loop or self.budget is None:
            self._exchange_hot(events, woken_ns)
            return
        if self._hot and self.budget >= len(events):
            self.budget -= self._exchange_hot(events, woken_ns)
            return
        for fd, mask in events:
            self._on_event(fd, mask, woken_ns)

    def finish(self, *, was_awaited: bool = True) -> None:
        """Verify the ends, count what was never answered if it was awaited, and close all."""
        self._cool()
        for flow in list(self.flows.values()):
            if flow.in_flight:
                if was_awaited:
                    self.errors[NO_REPLY] += flow.in_flight
            elif self.mismatch is None:
                try:
                    flow.verifier.finish()
                except Mismatch as error:
                    self._note_mismatch(flow, error)
            self._close(flow)

    # -- hot flows ---------------------------------------------------------------------------------

    def _exchange_hot(self, events: list[tuple[int, int]], woken_ns: int) -> int:
        """Serve the events, with the short way for hot flows; return how many messages that did."""
        hot, clock, note = self._hot, self._clock, self.notes.append
        requests, replies = self._cycle.requests, self._cycle.replies
        request_bytes, variants = self._cycle.request_bytes, len(requests)
        schedule = self._schedule
        read, write, most_bytes = os.read, os.write, len(replies[0]) + 1
        done = sent = 0
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
                self._failed(flow, error)
                continue
            if data != replies[at] or flow.sent_ns < 0:
                self._leave_hot(flow)
                self._received(flow, data, woken_ns)
                self._pump(flow)
                continue
            note((woken_ns - flow.sent_ns) // UNIT_NS)
            done += 1
            flow.answered += 1
            at += 1
            if at == variants:
                at = 0
            flow.next = at
            if schedule is None:
                flow.sent_ns = clock()
            elif flow.released > flow.answered:
                flow.sent_ns = flow.due_ns(schedule, flow.answered)
            else:
                flow.sent_ns = -1
                continue
            try:
                sent_bytes = write(fd, requests[at])
            except OSError as error:
                self._not_sent(flow, 0, error)
                continue
            sent += sent_bytes
            if sent_bytes != request_bytes:
                self._not_sent(flow, sent_bytes)
        self.messages += done
        self.received_bytes += done * (most_bytes - 1)
        self.sent_bytes += sent
        return done

    def _send_hot(self, flow: Flow, schedule: Schedule) -> None:
        """Send the message that is due on a hot flow with none in flight."""
        flow.sent_ns = flow.due_ns(schedule, flow.answered)
        self.lags.append((self._clock() - flow.sent_ns) // UNIT_NS)
        message = self._cycle.requests[flow.next]
        try:
            sent_bytes = os.write(flow.fd, message)
        except OSError as error:
            self._not_sent(flow, 0, error)
            return
        self.sent_bytes += sent_bytes
        if sent_bytes != len(message):
            self._not_sent(flow, sent_bytes)

    def _not_sent(self, flow: Flow, sent_bytes: int, error: OSError | None = None) -> None:
        """Keep the rest of a hot flow's message, which the kernel did not take."""
        message = self._cycle.requests[flow.next]
        self._leave_hot(flow)
        flow.unsent = memoryview(message)[sent_bytes:]
        self._watch(flow)
        if error is not None:
            self._failed(flow, error)

    def _enter_hot(self, flow: Flow) -> None:
        if (
            self._may_be_hot
            and not self._is_stopping
            and flow.unsent is None
            and flow.verifier.is_between
            and (flow.starts[0] >= self.begin_ns if flow.starts else self._is_open_loop)
        ):
            flow.next = flow.verifier.next
            flow.sent_ns = flow.starts.popleft() if flow.starts else -1
            self._hot[flow.fd] = flow

    def _cool(self) -> None:
        for flow in list(self._hot.values()):
            self._leave_hot(flow)

    def _leave_hot(self, flow: Flow) -> None:
        del self._hot[flow.fd]
        flow.started = flow.answered
        if flow.sent_ns >= 0:
            flow.started += 1
            flow.starts.append(flow.sent_ns)
        flow.verifier.skip(flow.answered - flow.verified)
        flow.verified = flow.answered

    # -- all others --------------------------------------------------------------------------------

    def _on_event(self, fd: int, mask: int, woken_ns: int) -> None:
        flow = self.flows.get(fd)
        if flow is None:
            return
        if fd in self._hot:
            self._leave_hot(flow)
        if mask & ~select.EPOLLOUT:
            try:
                self._receive(flow, woken_ns)
            except OSError as error:
                self._failed(flow, error)
        if flow.fd >= 0 and self.mismatch is None:
            self._pump(flow)

    def _receive(self, flow: Flow, woken_ns: int) -> None:
        """Receive once; over TLS, all that has come, because epoll knows nothing of it."""
        if not self._is_tls:
            self._received(flow, os.read(flow.fd, _READ_BYTES), woken_ns)
            return
        sock = flow.sock
        assert isinstance(sock, ssl.SSLSocket)
        while flow.fd >= 0:
            self._received(flow, sock.recv(_READ_BYTES), woken_ns)
            if flow.fd < 0 or not sock.pending():
                return

    def _received(self, flow: Flow, data: bytes, woken_ns: int) -> None:
        if not data:
            self._lose(flow, CLOSED)
            return
        self.received_bytes += len(data)
        try:
            done = flow.verifier.feed(data, flow.in_flight)
        except Mismatch as error:
            self._note_mismatch(flow, error)
            return
        for _ in range(done):
            start_ns = flow.starts.popleft()
            if start_ns >= self.begin_ns:
                self.notes.append((woken_ns - start_ns) // UNIT_NS)
        self.messages += done
        flow.answered += done
        flow.verified = flow.answered

    def _pump(self, flow: Flow) -> None:
        """Send what may be sent now."""
        if flow.fd < 0 or (flow.unsent is not None and not self._flush(flow)):
            return
        may = self._depth - flow.in_flight
        if self._is_open_loop:
            may = min(may, flow.released - flow.started)
        elif self._is_stopping:
            may = 0
        elif self.budget is not None:
            may = min(may, self.budget)
            self.budget -= max(0, may)
        if may > 0:
            now_ns = self._clock()
            schedule = self._schedule
            if schedule is not None:
                messages = range(flow.started, flow.started + may)
                flow.starts.extend([flow.due_ns(schedule, one) for one in messages])
            else:
                flow.starts.extend([now_ns] * may)
            flow.unsent = self._cycle.sent(flow.first + flow.started, may)
            flow.started += may
            if not self._flush(flow, is_watched=False):
                return
        self._enter_hot(flow)

    def _flush(self, flow: Flow, *, is_watched: bool = True) -> bool:
        """Send what is left of messages; return whether nothing is."""
        assert flow.unsent is not None
        try:
            sent_bytes = (
                flow.sock.send(flow.unsent) if self._is_tls else os.write(flow.fd, flow.unsent)
            )
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            sent_bytes = 0
        except OSError as error:
            self._failed(flow, error)
            return False
        self.sent_bytes += sent_bytes
        if sent_bytes == len(flow.unsent):
            flow.unsent = None
            if is_watched:
                self._epoll.modify(flow.fd, select.EPOLLIN)
            return True
        flow.unsent = flow.unsent[sent_bytes:]
        if not is_watched:
            self._watch(flow)
        return False

    def _watch(self, flow: Flow) -> None:
        self._epoll.modify(flow.fd, select.EPOLLIN | select.EPOLLOUT)

    def _note_mismatch(self, flow: Flow, error: Mismatch) -> None:
        if self.mismatch is None:
            self.mismatch = f"connection {flow.number}, {error}"
        self.errors["mismatch"] += 1

    def _failed(self, flow: Flow, error: OSError) -> None:
        """Decide what an error of a call means."""
        if isinstance(error, BlockingIOError | ssl.SSLWantReadError | ssl.SSLWantWriteError):
            return
        if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            self._lose(flow, CLOSED)
        elif isinstance(error, ssl.SSLError):
            self._lose(flow, TLS)
        else:
            self._lose(flow, RESET)

    def _lose(self, flow: Flow, kind: str) -> None:
        self.errors[kind] += 1
        if flow.in_flight:
            self.errors[NO_REPLY] += flow.in_flight
        if flow.released > flow.started:
            self.errors[NO_CONNECTION] += flow.released - flow.started
        self._close(flow)

    def _close(self, flow: Flow) -> None:
        if flow.fd < 0:
            return
        self._hot.pop(flow.fd, None)
        del self.flows[flow.fd]
        self._epoll.unregister(flow.fd)
        flow.fd = -1
        flow.sock.close()
