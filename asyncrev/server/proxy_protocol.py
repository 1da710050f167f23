"""From whom PROXY headers are read, and which: the settings of a server behind proxies."""

import dataclasses
import functools
import ipaddress
from collections.abc import Sequence
from typing import Any

from asyncrev.errors import SettingsError
from asyncrev.limit_checks import LEAST_TIME_S, MOST_TIME_S

__all__ = ["UNIX", "VERSIONS", "ProxyProtocol"]

VERSIONS = ("v1", "v2", "any")
UNIX = "unix"  # in `trusted`: whoever can connect to the server's UNIX socket

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProxyProtocol:
    """Read PROXY headers of listed proxies (`Server(proxy=...)`). Frozen, so any thread may use it.

    A listed address must begin each connection with a header, before TLS; what has none is refused.
    A connection from any other address is served as it is, without a look for a header, so nobody
    else can say who he is.

    Attributes:
        version: "v1", "v2" or "any".
        trusted: the proxies' addresses and networks, such as "192.0.2.7", "10.0.0.0/8" and
            "2001:db8::/32"; "unix" for everybody who can connect to the server's UNIX socket.
        timeout_s: seconds from accept in which a header must be complete. The first byte and the
            TLS handshake behind it have their own limits, which count from accept, too.
    """

    version: str = "any"
    trusted: Sequence[str]
    timeout_s: float = 3.0
    _networks: tuple[Network, ...] = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            SettingsError: names the setting, its value and what is allowed.
        """
        if self.version not in VERSIONS:
            raise SettingsError(f"version is {self.version!r}; it must be one of {VERSIONS}")
        if isinstance(self.trusted, str):
            raise SettingsError(f"trusted is {self.trusted!r}; it must be a sequence of such texts")
        trusted = tuple(self.trusted)
        if not trusted:
            raise SettingsError("trusted is empty; give the addresses of the proxies")
        object.__setattr__(self, "trusted", trusted)
        networks = tuple(_network(text) for text in trusted if text != UNIX)
        object.__setattr__(self, "_networks", networks)
        is_number = isinstance(self.timeout_s, (int, float))
        if not (is_number and LEAST_TIME_S <= self.timeout_s <= MOST_TIME_S):
            raise SettingsError(
                f"timeout_s is {self.timeout_s!r}; it must be a number of seconds from "
                f"{LEAST_TIME_S:g} to {MOST_TIME_S:g}"
            )

    def trusts(self, address: Any) -> bool:
        """Return whether the peer at `address`, as accept(2) tells it, is listed."""
        if not isinstance(address, tuple):  # a path, or the empty name of most UNIX clients
            return UNIX in self.trusted
        host = address[0]
        return isinstance(host, str) and _is_within(host.partition("%")[0], self._networks)


@functools.lru_cache(maxsize=256)  # there are few proxies, with many connections each
def _is_within(host: str, networks: tuple[Network, ...]) -> bool:
    ip = ipaddress.ip_address(host)
    # What a socket for both families says of a peer over IPv4 (RFC 4291, 2.5.5.2).
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return any(ip in network for network in networks)


def _network(text: Any) -> Network:
    if not isinstance(text, str):
        raise SettingsError(f"trusted has {text!r}; give addresses as text")
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise SettingsError(
            f"trusted has {text!r}: {error}; give an address as 192.0.2.7, a network as 10.0.0.0/8 "
            f"or 2001:db8::/32, or {UNIX}"
        ) from None
