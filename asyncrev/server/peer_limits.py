"""How many connections of a server one address may have at once.

An IPv4 address counts by itself, IPv6 addresses by their first 64 bits: who has one of these has
all of them (RFC 4291, 2.5.4). An IPv4-mapped IPv6 address counts as the IPv4 address. UNIX sockets
have no address, and are not limited.

  I26  an address has as many places as it has sockets that are arriving or open, and never more
       than `most`; an address without any has no entry
"""

import contextlib
import socket
from typing import Any

from asyncrev.errors import TooManyFromAddress

__all__ = ["NO_PLACE", "PeerLimits", "PeerPlace", "key_of"]

_MAPPED = bytes(10) + b"\xff\xff"  # IPv4-mapped addresses begin so (RFC 4291, 2.5.5.2)
_PREFIX_BYTES = 8  # /64, of IPv6


def key_of(address: Any) -> bytes | None:
    """Return what connections from `address`, as accept(2) gives it, are counted by.

    Four bytes for IPv4, eight for IPv6, None for what is not limited.
    """
    if not (isinstance(address, tuple) and address and isinstance(address[0], str)):
        return None
    host = address[0].partition("%")[0]  # "fe80::1%eth0"
    with contextlib.suppress(OSError):
        if ":" not in host:
            return socket.inet_pton(socket.AF_INET, host)
        packed = socket.inet_pton(socket.AF_INET6, host)
        return packed[12:] if packed.startswith(_MAPPED) else packed[:_PREFIX_BYTES]
    return None


def _name_of(key: bytes) -> str:
    if len(key) == _PREFIX_BYTES:
        return socket.inet_ntop(socket.AF_INET6, key + bytes(16 - _PREFIX_BYTES)) + "/64"
    return socket.inet_ntop(socket.AF_INET, key)


class PeerLimits:
    """Counts the connections of each address. All methods: the loop's thread."""

    def __init__(self, most: int) -> None:
        """Prepare to allow `most` connections of each address; 0 for any number."""
        self._most = most
        # Has only addresses with a place taken, hence no more of them than there are sockets.
        self._taken: dict[bytes, int] = {}

    def __len__(self) -> int:
        """Return how many addresses have a connection."""
        return len(self._taken)

    def place(self) -> "PeerPlace":
        """Return a place that can be taken, for one socket. See `PeerPlace`."""
        return PeerPlace(self) if self._most else NO_PLACE

    def _take(self, key: bytes) -> None:
        taken = self._taken.get(key, 0)
        if taken >= self._most:
            raise TooManyFromAddress(
                f"{_name_of(key)} has {taken} connections; max_connections_per_ip is {self._most}"
            )
        self._taken[key] = taken + 1

    def _leave(self, key: bytes) -> None:
        taken = self._taken[key] - 1
        if taken:
            self._taken[key] = taken
        else:
            del self._taken[key]


class PeerPlace:
    """The place of one socket, from its arrival to the end of its connection. Thread: loop."""

    __slots__ = ("_key", "_limits")

    def __init__(self, limits: PeerLimits | None) -> None:
        """Prepare a place of `limits`, not taken; None: no limit, one for all connections."""
        self._limits = limits
        self._key: bytes | None = None

    def take(self, address: Any) -> None:
        """Take the place for the peer at `address`; once, before the connection is made.

        Raises:
            TooManyFromAddress: its address has as many as it may; the place is not taken.
        """
        if self._limits is None:
            return
        assert self._key is None
        key = key_of(address)
        if key is not None:
            self._limits._take(key)
            self._key = key

    def leave(self) -> None:
        """Give the place back, if it is taken. Idempotent."""
        key, self._key = self._key, None
        if key is not None:
            assert self._limits is not None
            self._limits._leave(key)


NO_PLACE = PeerPlace(None)  # without a limit, connections share it
