"""Fuzz target of PROXY headers: any bytes, in any pieces, are read as the oracle says.

    python -m tests.fuzz.proxy_fuzz --inputs 1000000 --seed 1

The invariants it defends: a header is cut where it ends, wherever the network has split it, and its
client is the one that the oracle reads; everything else is refused by an error of the two that the
documentation names.

An input's first byte chooses the version that is allowed (low 2 bits) and the length of the pieces
(the rest; 0 is all at once), what follows is what the proxy sends.
"""

import ipaddress
import random
import struct
import sys
from typing import Any

from asyncrev.errors import ProxyHeaderInvalid, ProxyHeaderMissing
from asyncrev.server.proxy_header import header_end, parse
from tests.fuzz import running
from tests.proxy_headers import (
    LOCAL_V1,
    LOCAL_V2,
    MORE,
    REFUSED,
    V1,
    V2,
    checksummed,
    expected,
    inet,
    tlv,
    v2,
)

NAME = "proxy"
VERSIONS = ("any", "any", "v1", "v2")
PROXY = ("198.51.100.1", 7)

IPV6 = inet(("2001:db8::1", 1), ("::1", 65535))
TLS = tlv(0x20, b"\x07\0\0\0\0" + tlv(0x21, b"TLSv1.3") + tlv(0x22, b"Ann"))
TLVS = tlv(1, b"h2") + tlv(2, b"example.org") + tlv(4, b"") + tlv(5, b"id") + TLS
_SEEDS = (
    V1,
    b"PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 0 65535\r\n",
    LOCAL_V1,
    b"PROXY UNKNOWN a b c d\r\n",
    V2,
    LOCAL_V2,
    v2(inet() + TLVS),
    v2(IPV6 + TLVS, transport=0x21),
    v2(b"/run/a".ljust(108, b"\0") + b"\0name".ljust(108, b"\0"), transport=0x31),
    v2(TLVS, transport=0),
    v2(inet(), transport=0x12),
    checksummed(inet(), TLVS),
)
_WORDS = (b" ", b"\r\n", b"0", b"65536", b"::", b".", b"\0", b"\xff", b"TCP4", b"UNKNOWN", b"\x20")


def check(data: bytes) -> None:
    """Run one input; every input is valid.

    Raises:
        AssertionError: a header was not read as the oracle says.
    """
    options, sent = data[:1] or b"\0", data[1:]
    version = VERSIONS[options[0] & 3]
    found = _read(sent, version, options[0] >> 2 or len(sent) or 1)
    assert found == expected(sent, version), (found, expected(sent, version))


def _read(sent: bytes, version: str, piece_bytes: int) -> Any:
    """Do what the reader does with pieces; return in the form of `expected`."""
    try:
        for came in [*range(piece_bytes, len(sent), piece_bytes), len(sent)]:
            if not came:
                break
            end = header_end(sent[:came], version)
            assert end is None or 0 < end <= 4096
            if end is not None and end <= came:
                header = parse(sent[:end], PROXY)
                assert header.info.proxy_address == PROXY
                return end, _comparable(header.client), header.info.is_local
    except (ProxyHeaderInvalid, ProxyHeaderMissing):
        return REFUSED
    return MORE


def _comparable(client: Any) -> Any:
    if client is None:
        return None
    if isinstance(client, tuple):
        return ipaddress.ip_address(client[0]), client[1]
    name = client if isinstance(client, bytes) else client.encode("utf-8", "surrogateescape")
    return _Path(name)


class _Path(bytes):
    """A path that equals the field of 108 bytes that it came from."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, bytes):
            return False
        whole = other.rstrip(b"\0") if other[:1] == b"\0" else other.partition(b"\0")[0]
        return bytes(self) == whole

    __hash__ = bytes.__hash__


def corpus() -> list[bytes]:
    """Return the inputs that mutation begins with."""
    return [bytes([options]) + seed for seed in _SEEDS for options in (0, 4, 29)]


def mutated(source: random.Random, seeds: list[bytes]) -> bytes:
    """Return a seed with a few changes."""
    data = bytearray(source.choice(seeds))
    for _ in range(source.randrange(4)):
        at = source.randrange(len(data) + 1)
        kind = source.randrange(7)
        if kind == 0:
            data[at:at] = source.choice(_WORDS)
        elif kind == 1:
            del data[at : at + source.randrange(1, 8)]
        elif kind == 2 and at < len(data):
            data[at] = source.randrange(256)
        elif kind == 3 and at < len(data):
            data[at] ^= 1 << source.randrange(8)
        elif kind == 4:
            data[at:] = source.randbytes(source.randrange(20))
        elif kind == 5:
            data += source.choice(seeds)[source.randrange(40) :]
        elif len(data) > 17:  # the length of version 2
            data[15:17] = struct.pack("!H", source.choice((0, 12, 36, 216, len(data) - 17, 65535)))
    return bytes(data)


if __name__ == "__main__":
    sys.exit(running.main(sys.modules[__name__]))
