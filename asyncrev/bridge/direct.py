"""Streams of our own loop whose chunks the plane receives and sends itself, all in one call.

The transport says at its gate, which is the lane, what may be done past it; see `loop.direct`,
which this module does not import. What the plane does not do is done by transport and protocol, as
for any other stream.
"""

from collections.abc import Callable
from typing import Any

from asyncrev.bridge.admission import Admission
from asyncrev.bridge.delivery import Delivery
from asyncrev.bridge.lane import Lane
from asyncrev.ring.loop_side import LoopSide
from asyncrev.ring.plane import END, OVER_QUOTA, RESERVE, Plane
from asyncrev.ring.wakeups import Parker

__all__ = ["DirectStreams"]


class DirectStreams:
    """The streams that a bridge's plane serves. All methods: the loop's thread."""

    __slots__ = ("_admission", "_delivery", "_parker", "_plane", "_side")

    def __init__(
        self, plane: Plane, side: LoopSide, parker: Parker, admission: Admission, delivery: Delivery
    ) -> None:
        self._plane = plane
        self._side = side
        self._parker = parker
        self._admission = admission
        self._delivery = delivery
        if hasattr(plane, "poll"):  # the native one
            side.poll = self.poll

    def attach(
        self,
        fd: int,
        transport: Any,
        gate: Lane,
        recv_into: Callable[[memoryview], int],
        send: Callable[[Any], int],
    ) -> None:
        """Begin to serve a stream, as far as its gate allows. Called by its transport.

        Args:
            fd: its descriptor.
            transport: has `on_direct_event`; gets what the plane does not do.
            gate: the lane of the stream.
            recv_into, send: of its socket, which is non-blocking.
        """
        gate.stream = transport
        self._plane.open(fd, gate, recv_into, send)

    def detach(self, fd: int) -> None:
        """Serve it no more; idempotent. Called by its transport before it closes the descriptor."""
        lane = self._plane.close(fd)
        if isinstance(lane, Lane):
            lane.stream = None

    def on_ready_batch(self, events: list[tuple[int, int]]) -> None:
        """Receive what has come for streams of which epoll has reported `events`."""
        plane, index = self._plane, 0
        while True:
            plane.framed_reads = self._admission.framed_reads
            index, outcome = plane.receive(events, index)
            if outcome == END:
                break
            fd, reported = events[index]
            index += 1
            lane = plane.row(fd)
            assert isinstance(lane, Lane)
            if outcome != OVER_QUOTA and outcome != RESERVE:
                error = outcome if isinstance(outcome, BaseException) else None
                lane.stream.on_direct_event(reported, error)
            elif not self._may_go_on(lane) and lane.sink is not None:
                lane.sink.on_no_credit()
        if not self._side.flush_is_due:
            self._side.flush_soon()

    def poll(self, epoll_fd: int, wake_fd: int, timeout_s: float) -> list[tuple[int, int]] | None:
        """Poll for the loop, and have the plane do all that is plain; see `IterationHook.poll`."""
        if self._admission.waiting_lanes or self._delivery.is_awaited:
            return None  # they are to know of each delivery
        plane: Any = self._plane
        plane.framed_reads = self._admission.framed_reads
        left: list[tuple[int, int]] = plane.poll(
            self._parker, self._side.signal, epoll_fd, wake_fd, timeout_s
        )
        return left

    def _may_go_on(self, lane: Lane) -> bool:
        if lane.is_framed:
            return self._admission.may_go_on(lane)
        return not lane.waits_for_credit
