"""The steady state of a closed loop by one native call per poll.

The state of a hot flow is a row of numbers then, at its descriptor's place, which the call changes;
see `exchange` of `asyncrev.native.kernels`. In an open loop the Python code serves them: it sends
when a message is due, which few calls for each do not make slower.
"""

import array
import enum
import os
import time
from collections.abc import Callable

from asyncrev.bench.flow import Flow, Totals
from asyncrev.bench.hot import HotFlows
from asyncrev.bench.measurement import UNIT_NS
from asyncrev.bench.messages import Cycle
from asyncrev.bench.ordinary import Ordinary
from asyncrev.bench.plan import Plan
from asyncrev.native.choice import KERNELS
from asyncrev.native.kernels import Kernels

__all__ = ["NativeHotFlows", "make_hot_flows"]

_ROW = 3  # numbers of one: which message, when it was sent, how many were answered
_NO_ROW = (-1, 0, 0)


class _Why(enum.IntEnum):
    """Why a flow is left to this module; as in kernels_exchange.c."""

    EVENT = 0  # it is not hot
    DATA = 1  # something else than the reply came
    NOT_READ = 2  # the number is that of an error
    NOT_SENT = 3  # the number is how much was sent, or of an error, negated


class NativeHotFlows(HotFlows):
    """`HotFlows` for a closed loop, by CLOCK_MONOTONIC. Thread: main."""

    def __init__(
        self,
        kernels: Kernels,
        plan: Plan,
        cycle: Cycle,
        clock: Callable[[], int],
        totals: Totals,
        ordinary: Ordinary,
    ) -> None:
        super().__init__(plan, cycle, clock, totals, ordinary)
        self._exchange = kernels.exchange
        self._requests = b"".join(cycle.requests)
        self._replies = b"".join(cycle.replies)
        self._rows = array.array("q", _NO_ROW)  # no memory at all would not be aligned

    def _take(self, flow: Flow) -> None:
        super()._take(flow)
        missing = flow.fd + 1 - len(self._rows) // _ROW
        self._rows.extend(_NO_ROW * max(0, missing))
        at = flow.fd * _ROW
        self._rows[at : at + _ROW] = array.array("q", (flow.next, flow.sent_ns, flow.answered))

    def leave(self, flow: Flow) -> None:
        """Make a flow an ordinary one, whose counts are true."""
        at = flow.fd * _ROW
        flow.next, flow.sent_ns, flow.answered = self._rows[at : at + _ROW]
        self._rows[at] = -1
        super().leave(flow)

    def exchange(self, events: list[tuple[int, int]], woken_ns: int) -> int:
        """Serve events of a closed loop; return how many messages that sent to hot flows."""
        if not self._flows:
            return super().exchange(events, woken_ns)
        done, sent_bytes, others = self._exchange(
            events,
            self._rows,
            self._requests,
            self._replies,
            len(self._cycle.requests),
            woken_ns,
            UNIT_NS,
            self._totals.notes,
        )
        self._count(done)
        self._totals.sent_bytes += sent_bytes
        for fd, mask, why, number, data in others:
            self._serve_other(fd, mask, _Why(why), number, data, woken_ns)
        return done

    def _serve_other(
        self, fd: int, mask: int, why: _Why, number: int, data: bytes | None, woken_ns: int
    ) -> None:
        if why is _Why.EVENT:
            self.on_event(fd, mask, woken_ns)
            return
        flow = self._flows[fd]
        if why is _Why.NOT_READ:
            self._not_read(flow, OSError(number, os.strerror(number)))
        elif why is _Why.NOT_SENT:
            error = OSError(-number, os.strerror(-number)) if number < 0 else None
            self._not_sent(flow, max(0, number), error)
        else:
            assert data is not None
            self._not_plain(flow, data, woken_ns)


def make_hot_flows(
    plan: Plan,
    cycle: Cycle,
    clock: Callable[[], int],
    totals: Totals,
    ordinary: Ordinary,
) -> HotFlows:
    """Return what serves hot flows best here. The native call reads the time by itself."""
    if KERNELS is None or plan.rate_per_s is not None or clock is not time.monotonic_ns:
        return HotFlows(plan, cycle, clock, totals, ordinary)
    return NativeHotFlows(KERNELS, plan, cycle, clock, totals, ordinary)
