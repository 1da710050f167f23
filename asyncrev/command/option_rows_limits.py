"""Options of `asyncrev serve` that set a field of `Limits`."""

from typing import Any

import click

from asyncrev.command.option import CONNECTIONS, REPLIES, RING, TIMEOUTS, Option, Said
from asyncrev.command.option_types import BYTES, NOT_NEGATIVE_BYTES, SECONDS, IntegerRange
from asyncrev.command.units import format_bytes, format_seconds
from asyncrev.limits import Limits

__all__ = ["LIMIT_OPTIONS", "limit_row"]


def limit_row(
    name: str, group: str, text: str, *, follows: str = "", said: Said = Said.NEVER
) -> Option:
    """Return the row of an option that sets the field `name` of `Limits`; its unit is the type."""
    kind: click.ParamType[Any] = click.INT
    default: Any = getattr(Limits(), name)
    if name.endswith("_s") and not name.endswith("_bytes_per_s"):
        kind, default = SECONDS, format_seconds(default)
    elif name.endswith(("_bytes", "_bytes_per_s")):
        kind, default = BYTES, format_bytes(default)
    if follows:  # `Limits` says so by -1, which nobody who types it would mean
        kind, default = (NOT_NEGATIVE_BYTES if kind is BYTES else IntegerRange(0)), None
    return Option(
        name=name,
        type=kind,
        default=default,
        follows=follows,
        help=text,
        group=group,
        sets=f"limits.{name}",
        said=said,
    )


# In the order of the start line and, within a group, of the help.
LIMIT_OPTIONS = (
    limit_row("slots", RING, "Large chunks that the ring holds at once.", said=Said.ALWAYS),
    limit_row(
        "slot_bytes",
        RING,
        "Bytes of a slot, hence of the largest chunk.",
        said=Said.ALWAYS,
    ),
    limit_row(
        "entries",
        RING,
        "Chunks that the ring holds at once, small and large.",
        follows="four times --slots",
        said=Said.ALWAYS,
    ),
    limit_row(
        "in_flight_entries",
        RING,
        "Ring entries of one connection at which it is no longer read.",
    ),
    limit_row(
        "in_flight_bytes",
        RING,
        "Bytes of one connection in the ring at which it is no longer read.",
    ),
    limit_row(
        "max_connections",
        CONNECTIONS,
        "Open connections at which accepting stops; the accept queue holds further ones.",
        said=Said.ALWAYS,
    ),
    limit_row(
        "max_connections_per_ip",
        CONNECTIONS,
        "Open connections of an IPv4 address, or an IPv6 /64, at which further ones are reset; 0 "
        "for no limit.",
    ),
    limit_row(
        "tls_handshakes_in_flight",
        CONNECTIONS,
        "Connections that may be within their TLS handshake at once; further ones wait.",
    ),
    limit_row(
        "max_frame_bytes",
        CONNECTIONS,
        "Longest payload of a frame; a longer one ends its connection.",
        said=Said.FRAMED,
    ),
    limit_row(
        "pool_bytes",
        CONNECTIONS,
        "What all framed connections together may hold of unfinished frames, input on its way and "
        "unsent replies.",
        said=Said.FRAMED,
    ),
    limit_row(
        "pool_connection_bytes",
        CONNECTIONS,
        "What one connection may hold of the buffer pool.",
        follows="twice what the longest frame needs",
        said=Said.FRAMED,
    ),
    limit_row(
        "partial_frame_bytes",
        CONNECTIONS,
        "Input that each framed connection may have on its way, or hold, without asking the pool.",
    ),
    limit_row(
        "frame_timeout_s",
        TIMEOUTS,
        "Time in which a frame must be complete, from its first byte; inf for no limit.",
        said=Said.FRAMED,
    ),
    limit_row(
        "pending_per_connection",
        REPLIES,
        "Requests of a connection to a coroutine or executor that may be without a reply before it "
        "is no longer read.",
    ),
    limit_row(
        "pending_total",
        REPLIES,
        "Such requests of all connections that run at once; others wait for them.",
    ),
    limit_row(
        "pending_total_bytes",
        REPLIES,
        "What their input and replies may take before only connections without one start one.",
    ),
    limit_row(
        "processor_timeout_s",
        TIMEOUTS,
        "Time in which a coroutine must answer; inf for no limit.",
    ),
    limit_row(
        "high_water_bytes",
        REPLIES,
        "Unsent replies of a connection at which it is no longer read.",
        said=Said.ALWAYS,
    ),
    limit_row(
        "low_water_bytes",
        REPLIES,
        "Unsent replies of a connection at which it is read again.",
        follows="a quarter of --high-water-bytes",
    ),
    limit_row(
        "max_reply_bytes",
        REPLIES,
        "Longest reply to one chunk or frame; a longer one is an error of the processor, unless it "
        "is no longer than what it answers. 0 for no bound.",
        follows="as --max-frame-bytes",
        said=Said.ALWAYS,
    ),
    limit_row(
        "first_byte_timeout_s",
        TIMEOUTS,
        "Time in which a new connection must send its first byte; inf for no limit.",
        said=Said.ALWAYS,
    ),
    limit_row(
        "idle_timeout_s",
        TIMEOUTS,
        "Time without input after which a connection that awaits no reply is closed; inf for no "
        "limit.",
        said=Said.ALWAYS,
    ),
    limit_row(
        "tls_handshake_timeout_s", TIMEOUTS, "Time in which a TLS handshake must be complete."
    ),
    limit_row(
        "write_stall_timeout_s",
        TIMEOUTS,
        "Time in which a peer must take some of its replies.",
        said=Said.ALWAYS,
    ),
    limit_row(
        "min_rate_bytes_per_s",
        TIMEOUTS,
        "Bytes per second, on the average of 10 s, that a peer must send of a frame that it has "
        "begun, and take of its replies; 0 for no limit.",
    ),
    limit_row(
        "max_connection_age_s",
        TIMEOUTS,
        "Age, plus or minus a tenth, at which a connection is closed once what has arrived is "
        "answered; inf for no limit.",
    ),
    limit_row(
        "drain_timeout_s",
        TIMEOUTS,
        "Time that a stop by signal leaves to answer what has arrived.",
        said=Said.ALWAYS,
    ),
    limit_row(
        "linger_timeout_s",
        TIMEOUTS,
        "Time that a connection waits, after its last reply, for the peer to close.",
    ),
)
