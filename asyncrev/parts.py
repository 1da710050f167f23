"""What a bridge is made of, made and put together in one place."""

import dataclasses
from collections.abc import Callable

from asyncrev.admission import Admission
from asyncrev.delivery import Delivery
from asyncrev.lanes import Lanes
from asyncrev.limits import Limits
from asyncrev.loop_face import LoopFace
from asyncrev.pool import Pool
from asyncrev.ring import Ring
from asyncrev.statistics import BridgeStatistics, PoolStatistics
from asyncrev.sweep import Sweep
from asyncrev.thread_face import ThreadFace
from asyncrev.wakeups import Parker
from asyncrev.worker import Worker

__all__ = ["Parts", "counters_of", "make_parts"]


@dataclasses.dataclass(frozen=True, slots=True)
class Parts:
    """The objects behind a bridge, for its own modules, its tests and tools; no stable interface.

    Attributes:
        ring: both threads, as its methods say.
        parker: the worker's sleep.
        face: the loop's side of the ring.
        pool: the worker's.
        worker: the thread.
        lanes: the loop's, as all that follow.
        admission: who may publish when.
        delivery: what happens to results.
        sweep: the look at deadlines.
    """

    ring: Ring
    parker: Parker
    face: LoopFace
    pool: Pool
    worker: Worker
    lanes: Lanes
    admission: Admission
    delivery: Delivery
    sweep: Sweep


def make_parts(
    limits: Limits, name: str, on_worker_end: Callable[[BaseException | None], None]
) -> Parts:
    """Make what a bridge needs; `on_worker_end` is called last on the worker, named `name`."""
    ring = Ring(limits.slots, limits.slot_bytes, limits.entries)
    parker = Parker()
    face = LoopFace(ring, parker)
    pool = Pool(ring, limits.pool_bytes)
    thread_face = ThreadFace(ring, parker, face.signal)
    lanes = Lanes()
    admission = Admission(ring, face, limits)
    delivery = Delivery(ring, admission, lanes)
    return Parts(
        ring=ring,
        parker=parker,
        face=face,
        pool=pool,
        worker=Worker(thread_face, ring.storage, pool, on_worker_end, name=name),
        lanes=lanes,
        admission=admission,
        delivery=delivery,
        sweep=Sweep(lanes, delivery.look, limits.shortest_deadline_s),
    )


def counters_of(parts: Parts, inlined: int) -> BridgeStatistics:
    """Return the counters as they are now. Thread: any; other than on the loop, not exact."""
    ring, worker, pool, budget = parts.ring, parts.worker, parts.pool, parts.admission.budget
    return BridgeStatistics(
        published=ring.published_seq,
        processed=ring.processed_seq,
        released=ring.released_seq,
        entries_in_use_high=parts.delivery.entries_in_use_high,
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
        spills=parts.admission.spills,
        worker_batches=worker.batches,
        worker_largest_batch=worker.largest_batch,
        worker_wakes=parts.parker.unparks,
        loop_drains=parts.face.drains,
        loop_wakes=parts.face.signal.requests,
        backstop_wakes=parts.parker.backstop_wakes,
        processor_errors=parts.delivery.processor_errors,
        inlined=inlined,
    )
