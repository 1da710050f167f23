"""What can be read off a bridge or a server: frozen snapshots of single-writer counters."""

import dataclasses

__all__ = ["BridgeStatistics", "ServerStatistics"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BridgeStatistics:
    """A bridge at one moment. Read on the loop, the loop's own counters agree with each other.

    Attributes:
        published, processed, released: entries so far, control entries included.
        slots_in_use_high: the most slots that were in use at once, seen at drains.
        lanes: connections (and other owners) that are open now.
        waiting_lanes: of these, how many wait for a slot.
        spills: how often input had to be kept aside because the ring was full.
        worker_batches, worker_largest_batch: how the worker took the entries.
        worker_wakes: how often it had to be woken.
        loop_drains: how often the loop took results.
        loop_wakes: how often the worker asked for that.
        backstop_wakes: sleeps that ended by timeout with work waiting; more than 0 is a defect.
        processor_errors: lanes that a processor's error has closed.
    """

    published: int
    processed: int
    released: int
    slots_in_use_high: int
    lanes: int
    waiting_lanes: int
    spills: int
    worker_batches: int
    worker_largest_batch: int
    worker_wakes: int
    loop_drains: int
    loop_wakes: int
    backstop_wakes: int
    processor_errors: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatistics:
    """A server at one moment. Thread: loop.

    Attributes:
        connections: open now.
        connections_high: the most that were open at once.
        accepted: connections so far.
        accept_errors: failed accepts (out of descriptors, out of memory, aborted by the peer).
        accepting: whether new connections are accepted now.
        received_bytes, replied_bytes: of all connections so far; what a cut connection did not
            take is in `replied_bytes` all the same.
        cut: connections cut by us so far, by reason.
        memory_bound_bytes: see `Limits.memory_bound_bytes`.
        bridge: the bridge that does the work, which other servers may share.
    """

    connections: int
    connections_high: int
    accepted: int
    accept_errors: int
    accepting: bool
    received_bytes: int
    replied_bytes: int
    cut: dict[str, int]
    memory_bound_bytes: int
    bridge: BridgeStatistics
