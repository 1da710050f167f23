"""What can be read off a bridge or a server: frozen snapshots of single-writer counters."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from asyncrev.connection_info import ConnectionInfo
from asyncrev.states import ConnectionState

__all__ = [
    "BridgeStatistics",
    "ClosedConnection",
    "ConnectionStatistics",
    "EngineStatistics",
    "HandshakeStatistics",
    "PendingStatistics",
    "PoolStatistics",
    "ServerStatistics",
    "total",
]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatistics:
    """A bridge's pool, which holds frames that span chunks, and its budget, at one moment.

    Attributes:
        in_use_bytes, in_use_high_bytes: blocks that hold unfinished frames or replies; now, and
            the most so far.
        kept_bytes: blocks that are ready to be used again.
        allocations: blocks made so far; in a steady state it does not grow.
        leases: blocks handed out so far.
        reclaimed: of these, how many came back after the loop had sent what was in them.
        reserved_bytes, reserved_high_bytes: what the budget has promised to connections.
        refused: how often a connection had to wait for budget.
        waiting_lanes: how many wait now.
    """

    in_use_bytes: int
    in_use_high_bytes: int
    kept_bytes: int
    allocations: int
    leases: int
    reclaimed: int
    reserved_bytes: int
    reserved_high_bytes: int
    refused: int
    waiting_lanes: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BridgeStatistics:
    """A bridge at one moment. Read on the loop, the loop's own counters agree with each other.

    Attributes:
        published, processed, released: entries so far, control entries included.
        entries_in_use_high: the most entries that were in use at once, seen at deliveries.
        lanes: connections (and other owners) that are open now.
        waiting_lanes: of these, how many wait for a slot or for budget in the pool.
        overflows: how often input had to be kept aside because the ring was full.
        worker_batches, worker_largest_batch: how the worker took the entries.
        worker_wakes: how often it had to be woken.
        loop_deliveries: how often the loop took results.
        loop_wakes: how often the worker asked for that.
        backstop_wakes: sleeps that ended by timeout with work waiting; more than 0 is a defect.
        processor_errors: lanes that a processor's error has closed.
        pool: what is known of the pool.
    """

    published: int
    processed: int
    released: int
    entries_in_use_high: int
    lanes: int
    waiting_lanes: int
    overflows: int
    worker_batches: int
    worker_largest_batch: int
    worker_wakes: int
    loop_deliveries: int
    loop_wakes: int
    backstop_wakes: int
    processor_errors: int
    pool: PoolStatistics


Counters = TypeVar("Counters", PoolStatistics, BridgeStatistics)


def total(parts: Sequence[Counters]) -> Counters:
    """Return `parts`, of which there is at least one, as one."""
    if len(parts) == 1:
        return parts[0]
    values: dict[str, Any] = {}
    for field in dataclasses.fields(parts[0]):
        found = [getattr(part, field.name) for part in parts]
        if field.name == "pool":
            values[field.name] = total(found)
        else:
            is_most = "high" in field.name or "largest" in field.name
            values[field.name] = max(found) if is_most else sum(found)
    return dataclasses.replace(parts[0], **values)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionStatistics:
    """A connection at one moment. Thread: loop.

    Attributes:
        info: who the peer is; None once it has gone.
        state: where it is in its life.
        open_s: how long it has been connected.
        received_bytes, replied_bytes: so far; over TLS of ciphertext.
        frames: how many were answered so far; None for raw chunks, and once it has ended.
        in_flight_bytes: input whose reply was not yet given to the transport.
        unsent_bytes: replies that the transport still has, as far as it tells.
        paused: the names of the reasons for which it is not read now, as in docs/modules.md.
    """

    info: ConnectionInfo | None
    state: ConnectionState
    open_s: float
    received_bytes: int
    replied_bytes: int
    frames: int | None
    in_flight_bytes: int
    unsent_bytes: int
    paused: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClosedConnection:
    """A connection that has ended; see `Server.on_connection_closed`.

    Attributes:
        info: who the peer was; None if the server's bridge did not take the connection. Its `tls`
            is None if the handshake was not complete.
        duration_s: how long it was connected.
        received_bytes, replied_bytes: over TLS of ciphertext; of the replies, what was given to the
            transport, whether or not the peer has taken it.
        frames: how many frames were answered; None for raw chunks.
        end: why it ended: a reason as in `ServerStatistics.aborted`, or "closed by peer",
            "reset by peer", "drained" (a graceful shutdown ended it), "connection lost" (by the
            network), or "closed" (without a reason; the log says if the bridge did not take it).
    """

    info: ConnectionInfo | None
    duration_s: float
    received_bytes: int
    replied_bytes: int
    frames: int | None
    end: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeStatistics:
    """A server's TLS handshakes at one moment; see `Limits.tls_handshakes_in_flight`. Thread: loop.

    Attributes:
        within: connections that are within their handshake now.
        within_high: the most at once.
        waiting: connections that wait to begin theirs.
        waiting_high: the most at once.
        waited: how many had to wait so far.
    """

    within: int
    within_high: int
    waiting: int
    waiting_high: int
    waited: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PendingStatistics:
    """Requests to a processor whose replies come later, at one moment. Thread: loop.

    Attributes:
        requests: without a reply now.
        running: of these, how many are being answered.
        running_high: the most at once.
        waiting_connections: connections that wait for others, to have one begun.
        held_bytes: input and replies, until the replies are given out; see
            `Limits.pending_total_bytes`.
        oldest_s: for how long the oldest has had no reply; 0.0 if there is none.
        timeouts: how many have had none within `Limits.processor_timeout_s` so far.
    """

    requests: int
    running: int
    running_high: int
    waiting_connections: int
    held_bytes: int
    oldest_s: float
    timeouts: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatistics:
    """An engine for executors, at one moment.

    Attributes:
        workers: that may take frames now.
        ready: frames that wait for a worker.
        running: frames that are with a worker, or wait there behind a batch.
        batches, frames: sent to workers so far.
        retries: frames that were sent again after their worker was lost.
        restarts: executors that were started again.
        hung_threads: threads that took too long for a batch, were replaced, and have not returned.
        lost: frames that were lost for good, by cause: died, hung, cancelled, "no worker".
    """

    workers: int
    ready: int
    running: int
    batches: int
    frames: int
    retries: int
    restarts: int
    hung_threads: int
    lost: Mapping[str, int]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatistics:
    """A server at one moment. Thread: loop.

    Attributes:
        connections: open now.
        connections_high: the most that were open at once.
        accepted: connections so far.
        accept_errors: failed accepts (out of descriptors, out of memory, aborted by the peer).
        accepting: whether new connections are accepted now.
        received_bytes, replied_bytes: of all connections so far; what an aborted connection did not
            take is in `replied_bytes` all the same.
        aborted: connections aborted by this side so far, by reason.
        memory_bound_bytes: see `Limits.memory_bound_bytes`.
        certificate_days_left: days until the certificate of its TLS expires, negative once it has;
            None without TLS, or if it cannot be seen. It is that of clients that name no host.
        handshakes: those of its TLS; None without.
        pending: requests to a processor whose replies come later; None for other processors.
        executor: what its executor has done; None without one.
        plane: "native" or "python": whose plane the bridges use.
        bridge: all `bridges` as one: counters added up, of the most and the largest the largest.
        bridges: those that do the work, one for each thread; other servers may share them.
    """

    connections: int
    connections_high: int
    accepted: int
    accept_errors: int
    accepting: bool
    received_bytes: int
    replied_bytes: int
    aborted: dict[str, int]
    memory_bound_bytes: int
    certificate_days_left: float | None
    handshakes: HandshakeStatistics | None
    pending: PendingStatistics | None
    executor: EngineStatistics | None
    plane: str
    bridge: BridgeStatistics
    bridges: tuple[BridgeStatistics, ...]
