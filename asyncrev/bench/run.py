"""One process's run: warm-up, measurement in intervals, and the wait for the last replies."""

import collections
import enum
import gc
import select
import time
from collections.abc import Callable, Iterator

from asyncrev.bench.measurement import Interval, Outcome, folding, joined
from asyncrev.bench.messages import Cycle
from asyncrev.bench.plan import Plan, Share
from asyncrev.bench.sockets import Connector, allow_descriptors
from asyncrev.bench.traffic import Traffic

__all__ = ["MOST_INTERVALS", "Run"]

# When there are so many, each two that follow one another become one.
MOST_INTERVALS = 120

_NS_PER_S = 1_000_000_000
_LONGEST_WAIT_S = 0.1  # so that a signal is noticed
_LOOK_EVERY_NS = 1_000_000  # whether the last replies have come


class _Phase(enum.Enum):
    WARM_UP = enum.auto()
    SETTLE = enum.auto()  # with a count: replies to messages of the warm-up are awaited
    MEASURE = enum.auto()
    DRAIN = enum.auto()
    OVER = enum.auto()


class Run:
    """Sends one process's share of a plan. Thread: main; `interrupt` may be a signal's handler.

    Attributes:
        intervals: by their number, all that are over.
        joins: how often each two of them were made one.
    """

    def __init__(
        self,
        plan: Plan,
        cycle: Cycle,
        share: Share = Share(),  # noqa: B008  # it is frozen
        *,
        on_interval: Callable[[int, Interval], None] | None = None,
        control_fd: int | None = None,
    ) -> None:
        """Prepare, without connecting.

        Args:
            plan: what to do.
            cycle: its messages.
            share: which part of it.
            on_interval: is told each interval with its number, before its latencies are counted.
            control_fd: a descriptor that becomes readable when the run is to end.
        """
        self._plan, self._cycle, self._share = plan, cycle, share
        self._on_interval = on_interval
        self._control_fd = control_fd
        self._epoll = select.epoll()
        self._clock = time.monotonic_ns
        self._traffic = Traffic(plan, cycle, self._epoll, self._clock)
        self._phase = _Phase.WARM_UP
        self._is_interrupted = False
        self._interval_ns = int(plan.interval_s * _NS_PER_S)
        self._begin_ns = self._end_ns = self._turn_ns = self._closed_ns = 0
        self._limit_ns: int | None = None  # when the phase ends at the latest
        self._exact: collections.Counter[int] = collections.Counter()  # latencies of this interval
        self._exact_lags: collections.Counter[int] = collections.Counter()
        self._fold: Iterator[None] | None = None
        self._before = (0, 0, 0, 0, 0.0)  # the counters at the start of the interval
        self._number = 0
        self._outcome = Outcome()
        self._last_message = (0, 0)  # how many there were when something last came, and when
        self.intervals: dict[int, Interval] = {}
        self.joins = 0

    def interrupt(self) -> None:
        """End as soon as possible."""
        self._is_interrupted = True

    def connect(self) -> None:
        """Open all connections.

        Raises:
            ConnectError: one could not be opened.
            SettingsError: there cannot be so many descriptors.
        """
        numbers = self._share.connections(self._plan)
        allow_descriptors(len(numbers))
        connector = Connector(self._plan)
        for number in numbers:
            self._traffic.add(number, connector.connect())

    def close(self) -> None:
        """Close what is open."""
        for flow in list(self._traffic.flows.values()):
            flow.sock.close()
        self._traffic.flows.clear()
        self._epoll.close()

    def run(self, start_ns: int | None = None) -> Outcome:
        """Send from `start_ns` of the monotonic clock on, by default from now; return the end."""
        start_ns = self._clock() if start_ns is None else start_ns
        self._begin_ns = self._turn_ns = start_ns + int(self._plan.warmup_s * _NS_PER_S)
        if self._control_fd is not None:
            self._epoll.register(self._control_fd, select.EPOLLIN)
        gc.collect()
        gc.disable()  # nothing here makes circles, and a collection would hold messages up
        try:
            wait_s = (start_ns - self._clock()) / _NS_PER_S
            if wait_s > 0:
                self._poll(wait_s)
            self._traffic.start(self._share, start_ns, None)
            self._drive()
        finally:
            gc.enable()
        return self._finish()

    # -- the loop ----------------------------------------------------------------------------------

    def _drive(self) -> None:
        traffic, clock = self._traffic, self._clock
        totals = traffic.totals
        poll, exchange, notes = self._epoll.poll, traffic.exchange, totals.notes
        woken_ns = clock()
        while self._phase is not _Phase.OVER:
            if self._fold is not None:
                events = poll(0)
            elif traffic.next_ns is None:
                wait_s = (self._turn_ns - woken_ns) / _NS_PER_S
                events = poll(min(max(wait_s, 0), _LONGEST_WAIT_S))
            else:
                events = self._poll((min(self._turn_ns, traffic.next_ns) - clock()) / _NS_PER_S)
            woken_ns = clock()
            if events:
                exchange(events, woken_ns)
                if totals.has_other_event:  # of the control descriptor
                    self._is_interrupted = True
            if traffic.next_ns is not None:
                traffic.send_due(woken_ns)
            if notes:
                self._count(notes, self._exact)
            if totals.lags:
                self._count(totals.lags, self._exact_lags)
            if self._fold is not None and next(self._fold, self) is self:
                self._fold = None
            if woken_ns >= self._turn_ns or totals.budget == 0:
                self._turn(woken_ns)
            if self._is_interrupted or totals.mismatch is not None or not traffic.flows:
                self._end_early(clock())

    def _poll(self, wait_s: float) -> list[tuple[int, int]]:
        """Wait for events, more precisely than the whole milliseconds of `epoll.poll`."""
        if wait_s > 0:
            select.select([self._epoll], [], [], min(wait_s, _LONGEST_WAIT_S))
        return self._epoll.poll(0)

    @staticmethod
    def _count(values: list[int], counts: collections.Counter[int]) -> None:
        counts.update(values)
        values.clear()

    # -- phases ------------------------------------------------------------------------------------

    def _turn(self, now_ns: int) -> None:
        """Do what is due by the clock."""
        if self._phase is _Phase.WARM_UP:
            if self._plan.count is None:
                self._begin(now_ns)
                return
            self._traffic.stop()
            self._phase = _Phase.SETTLE
            self._limit_ns = now_ns + int(self._plan.timeout_s * _NS_PER_S)
        if self._phase is _Phase.SETTLE:
            if self._traffic.is_quiet or self._is_past_limit(now_ns):
                self._begin(now_ns)
                budget = self._share.count(self._plan)
                self._traffic.start(self._share, now_ns, budget)
            else:
                self._turn_ns = now_ns + _LOOK_EVERY_NS
        elif self._phase is _Phase.MEASURE:
            self._measure(now_ns)
        elif self._phase is _Phase.DRAIN:
            if self._traffic.is_quiet or self._is_past_limit(now_ns):
                self._phase = _Phase.OVER
            else:
                self._turn_ns = now_ns + _LOOK_EVERY_NS

    def _is_past_limit(self, now_ns: int) -> bool:
        return self._limit_ns is not None and now_ns >= self._limit_ns

    def _begin(self, now_ns: int) -> None:
        """Begin to measure."""
        self._phase = _Phase.MEASURE
        self._limit_ns = None
        if self._plan.duration_s is not None:
            self._limit_ns = now_ns + int(self._plan.duration_s * _NS_PER_S)
        self._traffic.begin(now_ns)
        self._exact.clear()
        self._exact_lags.clear()
        self._begin_ns = self._closed_ns = now_ns
        self._before = self._counters()
        self._last_message = (self._traffic.totals.messages, now_ns)
        self._plan_turn(now_ns)

    def _plan_turn(self, now_ns: int) -> None:
        self._number = (now_ns - self._begin_ns) // self._interval_ns
        self._turn_ns = self._begin_ns + (self._number + 1) * self._interval_ns
        limit_ns = self._limit_ns
        if limit_ns is not None and limit_ns - self._turn_ns < self._interval_ns // 2:
            self._turn_ns = limit_ns  # no short interval at the end

    def _measure(self, now_ns: int) -> None:
        traffic = self._traffic
        if self._is_past_limit(now_ns):
            self._end(now_ns)
            return
        if traffic.totals.budget == 0 and traffic.is_quiet:
            self._close_interval(now_ns)
            self._end_ns = now_ns
            self._phase = _Phase.OVER
            return
        if (now_ns - self._begin_ns) // self._interval_ns > self._number:
            self._close_interval(now_ns)
            messages, since_ns = self._last_message
            if traffic.totals.messages != messages:
                self._last_message = (traffic.totals.messages, now_ns)
            elif now_ns - since_ns > self._plan.timeout_s * _NS_PER_S and self._limit_ns is None:
                self._phase = _Phase.OVER  # it would wait for ever
                self._end_ns = now_ns
                return
        self._plan_turn(now_ns)

    def _end(self, now_ns: int) -> None:
        """End the measurement, and wait for replies."""
        self._close_interval(now_ns)
        self._end_ns = now_ns
        waited = self._traffic.drop_unsent(now_ns)
        self._outcome.unsent = sum(waited.values())
        self._traffic.stop()
        self._phase = _Phase.DRAIN
        self._limit_ns = now_ns + int(self._plan.timeout_s * _NS_PER_S)
        self._turn_ns = now_ns
        self._exact = collections.Counter(waited)

    def _end_early(self, now_ns: int) -> None:
        if self._phase is _Phase.MEASURE:
            self._close_interval(now_ns)
            self._end_ns = now_ns
        self._phase = _Phase.OVER

    def _counters(self) -> tuple[int, int, int, int, float]:
        totals = self._traffic.totals
        errors = sum(totals.errors.values())
        cpu_s = time.process_time()
        return totals.messages, totals.sent_bytes, totals.received_bytes, errors, cpu_s

    def _close_interval(self, now_ns: int) -> None:
        """End the interval, if it has any length; what is counted from now on is the next one's."""
        if now_ns <= self._closed_ns:
            return
        after = self._counters()
        messages, sent_bytes, received_bytes, errors, cpu_s = (
            new - old for new, old in zip(after, self._before, strict=True)
        )
        interval = Interval(
            (self._closed_ns - self._begin_ns) / _NS_PER_S,
            (now_ns - self._begin_ns) / _NS_PER_S,
            int(messages),
            int(sent_bytes),
            int(received_bytes),
            int(errors),
            cpu_s,
        )
        self._before = after
        self._closed_ns = now_ns
        if self._on_interval is not None:
            slowest = max(self._exact, default=0)
            interval.latencies = {slowest: 1} if slowest else {}
            self._on_interval(self._number, interval)
            interval.latencies = {}
        self._finish_fold()
        known = self.intervals.get(self._number)
        if known is None:
            self.intervals[self._number] = interval
        else:  # of an odd number of intervals that were joined, the last is only half as long
            known.add(interval)
            interval = known
        self._fold = _both(
            folding(self._exact, interval.latencies), folding(self._exact_lags, interval.lags)
        )
        self._exact, self._exact_lags = collections.Counter(), collections.Counter()
        if self._limit_ns is None and len(self.intervals) >= MOST_INTERVALS:
            self._finish_fold()
            self.intervals = joined(self.intervals)
            self.joins += 1
            self._interval_ns *= 2

    def _finish_fold(self) -> None:
        if self._fold is not None:
            for _ in self._fold:
                pass
            self._fold = None

    def _finish(self) -> Outcome:
        self._finish_fold()
        traffic, outcome = self._traffic, self._outcome
        outcome.is_interrupted = self._is_interrupted
        wall_s = (self._end_ns - self._begin_ns) / _NS_PER_S
        if wall_s > 0:
            cpu_s = sum(interval.cpu_s for interval in self.intervals.values())
            outcome.cores = [cpu_s / wall_s]
            for _ in folding(self._exact, outcome.late):
                pass
        traffic.finish(was_awaited=not self._is_interrupted)
        outcome.mismatch = traffic.totals.mismatch
        outcome.errors = dict(traffic.totals.errors)
        self._epoll.close()
        return outcome


def _both(first: Iterator[None], second: Iterator[None]) -> Iterator[None]:
    yield from first
    yield from second
