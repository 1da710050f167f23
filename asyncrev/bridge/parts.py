"""What a bridge is made of, made and put together in one place."""

import dataclasses
from collections.abc import Callable

from asyncrev.bridge.admission import Admission
from asyncrev.bridge.delivery import Delivery
from asyncrev.bridge.direct import DirectStreams
from asyncrev.bridge.lanes import Lanes
from asyncrev.bridge.pending import Pending
from asyncrev.bridge.sweep import Sweep
from asyncrev.limits import Limits
from asyncrev.ring.loop_side import LoopSide
from asyncrev.ring.planes import Parker, Plane, Ring
from asyncrev.ring.thread_side import ThreadSide
from asyncrev.statistics import BridgeStatistics, PoolStatistics
from asyncrev.work.block_pool import Pool
from asyncrev.work.worker import Worker

__all__ = ["Parts", "counters_of", "make_parts", "progress_of"]


@dataclasses.dataclass(frozen=True, slots=True)
class Parts:
    """The objects behind a bridge, for its own modules, its tests and tools; no stable interface.

    Attributes:
        ring, plane: both threads, as their methods say.
        parker: the worker's sleep.
        side: the loop's side of the ring.
        pool: the worker's.
        worker: the thread.
        lanes: the loop's, as all that follow.
        admission: who may publish when.
        delivery: what happens to results.
        streams: whose chunks the plane receives and sends.
        sweep: the look at deadlines.
        pending: requests whose replies come later; several bridges of a server share it.
    """

    ring: Ring
    plane: Plane
    parker: Parker
    side: LoopSide
    pool: Pool
    worker: Worker
    lanes: Lanes
    admission: Admission
    delivery: Delivery
    streams: DirectStreams
    sweep: Sweep
    pending: Pending

    def measure(self) -> None:
        """Measure durations from now on; see `ring.durations`. Idempotent. Thread: loop."""
        self.plane.measure()
        self.side.measured = self.plane


def make_parts(
    limits: Limits,
    name: str,
    on_worker_end: Callable[[BaseException | None], None],
    pending: Pending | None = None,
) -> Parts:
    """Make what a bridge needs; `on_worker_end` is called last on the worker, named `name`."""
    ring = Ring(limits.slots, limits.slot_bytes, limits.entries)
    parker = Parker()
    side = LoopSide(ring, parker)
    admission = Admission(ring, side, limits)
    plane = Plane(
        ring,
        limits.in_flight_entries,
        limits.in_flight_bytes,
        admission.budget.little_bytes,
    )
    pool = Pool(ring, limits.pool_bytes)
    thread_side = ThreadSide(ring, parker, side.signal, plane)
    lanes = Lanes()
    delivery = Delivery(ring, plane, admission, lanes)
    return Parts(
        ring=ring,
        plane=plane,
        parker=parker,
        side=side,
        pool=pool,
        worker=Worker(thread_side, pool, on_worker_end, name=name),
        lanes=lanes,
        admission=admission,
        delivery=delivery,
        streams=DirectStreams(plane, side, parker, admission, delivery),
        sweep=Sweep(lanes, delivery.look, limits.shortest_deadline_s),
        pending=pending or Pending(limits),
    )


def progress_of(parts: Parts) -> dict[str, int]:
    """Return what shows whether the worker moves; see `server.liveness`. Thread: loop."""
    ring = parts.ring
    return {
        "published": ring.published_seq,
        "processed": ring.processed_seq,
        "steps": parts.pool.steps[0],
    }


def counters_of(parts: Parts) -> BridgeStatistics:
    """Return the counters as they are now. Thread: any; other than on the loop, not exact."""
    ring, pool, budget = parts.ring, parts.pool, parts.admission.budget
    return BridgeStatistics(
        published=ring.published_seq,
        processed=ring.processed_seq,
        released=ring.released_seq,
        entries_in_use_high=max(
            parts.delivery.entries_in_use_high, parts.plane.entries_in_use_high
        ),
        lanes=len(parts.lanes),
        waiting_lanes=parts.admission.waiting_lanes,
        pool=PoolStatistics(
            in_use_bytes=pool.in_use_bytes,
            in_use_high_bytes=pool.in_use_high_bytes,
            kept_bytes=pool.kept_bytes,
            allocations=pool.allocations,
            leases=pool.leases,
            reclaimed=pool.reclaimed,
            reserved_bytes=budget.reserved_bytes,
            reserved_high_bytes=budget.reserved_high_bytes,
            refused=budget.refusals,
            waiting_lanes=budget.waiting_lanes,
        ),
        overflows=parts.admission.overflows,
        worker_batches=parts.plane.batches,
        worker_largest_batch=parts.plane.largest_batch,
        worker_wakes=parts.parker.unparks,
        loop_deliveries=parts.side.deliveries + parts.plane.deliveries,
        loop_wakes=parts.side.signal.requests,
        backstop_wakes=parts.parker.backstop_wakes,
        processor_errors=parts.delivery.processor_errors,
    )
