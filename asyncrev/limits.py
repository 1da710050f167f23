"""Settings with their defaults, each with its unit, and the memory bound that follows.

A default gives its provenance: measured here (a page in docs/decisions/), or copied from whom.
"""

import dataclasses
import sys

from asyncrev.errors import SettingsError

__all__ = ["FIXED_CONNECTION_BYTES", "Limits"]

# What one open connection costs beside its buffers: transport, protocol, socket, lane and their
# entries in asyncio's tables. Measured 2.0 to 3.8 KB (docs/memory.md), and doubled.
FIXED_CONNECTION_BYTES = 8 * 1024

# A bytearray that grows takes an eighth more than it holds (CPython, Objects/bytearrayobject.c).
BACKLOG_OVERHEAD = 1.125


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Frozen settings of a bridge, its connections and its server.

    Attributes:
        slots: entries in the ring; a turn of the loop publishes at most half of the default.
        slot_bytes: bytes of one slot, hence of the largest chunk. Bulk runs twice as fast with
            256 KiB as with 64 KiB, small messages do not care, and a page of a slot takes memory
            only once it was used (docs/decisions/0003-slots.md).
        in_flight_entries: entries that one connection may have in the ring before its reading
            pauses, so that dribbled bytes cannot take every slot.
        in_flight_bytes: bytes that one connection may have in the ring before its reading pauses.
        high_water_bytes: unsent replies at which a connection's reading pauses
            (asyncio's own default, 64 KiB).
        low_water_bytes: unsent replies at which it resumes; default a quarter of the high
            water, as in asyncio.
        spill_bytes: what a connection may read when the ring has no slot; it is kept aside
            until a slot is free.
        max_connections: open connections at which a server stops accepting; the kernel's
            backlog holds the rest.
        backlog: length of the kernel's accept queue (asyncio's default is 100; a storm of
            connections wants more).
        write_stall_timeout_s: seconds without any progress of unsent replies after which the
            connection is cut (60 s is nginx's `send_timeout`).
        drain_timeout_s: seconds that a drain may take before what is left is cut (users of
            such servers pick 3 to 30 s).
        linger_timeout_s: seconds that a drained connection waits for its peer to close, so
            that late input does not turn the last replies into a reset.
        accept_retry_s: pause of accepting after the process ran out of descriptors or memory
            (asyncio waits 1 s).
    """

    slots: int = 256
    slot_bytes: int = 256 * 1024
    in_flight_entries: int = 32
    in_flight_bytes: int = 256 * 1024
    high_water_bytes: int = 64 * 1024
    low_water_bytes: int = -1
    spill_bytes: int = 16 * 1024
    max_connections: int = 1024
    backlog: int = 1024
    write_stall_timeout_s: float = 60.0
    drain_timeout_s: float = 10.0
    linger_timeout_s: float = 1.0
    accept_retry_s: float = 0.5

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            SettingsError: names the setting, its value and what is allowed.
        """
        if self.low_water_bytes == -1:
            object.__setattr__(self, "low_water_bytes", self.high_water_bytes // 4)
        for name in ("slots", "slot_bytes", "in_flight_entries", "in_flight_bytes", "spill_bytes"):
            self._at_least(name, 1)
        for name in ("max_connections", "backlog"):
            self._at_least(name, 1)
        if self.ring_bytes > sys.maxsize:
            raise SettingsError(
                f"slots x slot_bytes is {self.ring_bytes}; it must be at most {sys.maxsize}"
            )
        self._at_least("high_water_bytes", 0)
        if not 0 <= self.low_water_bytes <= self.high_water_bytes:
            raise SettingsError(
                f"low_water_bytes is {self.low_water_bytes}; it must lie between 0 and "
                f"high_water_bytes, which is {self.high_water_bytes}"
            )
        for name in (
            "write_stall_timeout_s",
            "drain_timeout_s",
            "linger_timeout_s",
            "accept_retry_s",
        ):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise SettingsError(f"{name} is {value}; it must be a finite number above 0")

    def _at_least(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or value < least:
            raise SettingsError(f"{name} is {value!r}; it must be a whole number >= {least}")

    @property
    def ring_bytes(self) -> int:
        """Bytes of all slots."""
        return self.slots * self.slot_bytes

    @property
    def unsent_bytes(self) -> int:
        """The most unsent replies of one connection: reading stops at the high water.

        What is in flight then (up to `in_flight_bytes`, and one more chunk) is added to them.
        Holds for processors whose reply is no longer than its chunk; so do the next two.
        """
        return self.high_water_bytes + self.in_flight_bytes + self.slot_bytes

    @property
    def connection_bytes(self) -> int:
        """The most that one connection can make this process hold outside the ring."""
        return int(self.unsent_bytes * BACKLOG_OVERHEAD) + self.spill_bytes + FIXED_CONNECTION_BYTES

    @property
    def memory_bound_bytes(self) -> int:
        """The most that connections make this process hold beyond what it has when idle.

        The ring, `max_connections` worst connections, and one backlog that is being moved to a
        larger block, and the spill buffer, of both of which there is one at a time.
        """
        return (
            self.ring_bytes
            + self.max_connections * self.connection_bytes
            + self.unsent_bytes
            + self.spill_bytes
        )

    def replace(self, **changes: int | float) -> "Limits":
        """Return a copy with `changes`, checked again."""
        if "high_water_bytes" in changes and "low_water_bytes" not in changes:
            changes["low_water_bytes"] = -1
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]
