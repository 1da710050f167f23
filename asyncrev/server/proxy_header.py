"""PROXY headers: where one ends, and what it says.

Source: www.haproxy.org/download/3.0/doc/proxy-protocol.txt, 2.1 (version 1, a line of text) and 2.2
(version 2, binary). Nothing that this text does not allow is accepted, since two readings of one
header are two peers. Thread: any; nothing here waits.
"""

import os
import socket
import struct
from typing import NamedTuple

from asyncrev.connection_info import Address, ProxyInfo
from asyncrev.errors import ProxyHeaderInvalid, ProxyHeaderMissing
from asyncrev.server.proxy_tlvs import check_checksum, decoded, split

__all__ = ["MOST_BYTES", "MOST_LINE_BYTES", "ProxyHeader", "header_end", "parse"]

# Of version 1 with its CRLF (2.1), and of version 2, which could be 65,551: a header of HAProxy's
# with everything in it has a few hundred, with a client's certificate about 2,000.
MOST_LINE_BYTES = 107
MOST_BYTES = 4096

_LINE = b"PROXY "
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_START = struct.Struct("!12sBBH")  # signature, version and command, family and transport, length

_MOST_PORT = 65535
_STREAM = 1
_IPV4, _IPV6, _UNIX = 1, 2, 3
_TRANSPORTS = {0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32}  # "other values ... must be rejected"
_ADDRESSES = {
    0: struct.Struct(""),
    _IPV4: struct.Struct("!4s4sHH"),
    _IPV6: struct.Struct("!16s16sHH"),
    _UNIX: struct.Struct("!108s108s"),
}


class ProxyHeader(NamedTuple):
    """A header. `client`: the client's address, None if the socket's peer is to be taken for it."""

    client: Address | None
    info: ProxyInfo


def header_end(begun: bytes, version: str) -> int | None:
    """Return how many bytes the header has that `begun` begins with; None: more must come.

    If None, all of `begun` is of the header; it is at most MOST_BYTES long. `version`: which are
    allowed, "v1", "v2" or "any".

    Raises:
        ProxyHeaderMissing: it is the beginning of no header, or of one that is not allowed.
        ProxyHeaderInvalid: the header is too long, or of no known version or command.
    """
    if _SIGNATURE.startswith(begun[: len(_SIGNATURE)]):
        if begun and version == "v1":
            raise ProxyHeaderMissing("it begins with a PROXY header of version 2; only v1 is read")
        return _end_of_binary(begun)
    if _LINE.startswith(begun[: len(_LINE)]):
        if version == "v2":
            raise ProxyHeaderMissing("it begins with a PROXY header of version 1; only v2 is read")
        end = begun.find(b"\r\n", 0, MOST_LINE_BYTES)
        if end >= 0:
            return end + 2
        if len(begun) >= MOST_LINE_BYTES:
            raise ProxyHeaderInvalid(
                f"a PROXY header of version 1 has no end within {MOST_LINE_BYTES} bytes"
            )
        return None
    raise ProxyHeaderMissing(f"it begins with {begun[:16]!r}, which is no PROXY header")


def _end_of_binary(begun: bytes) -> int | None:
    if len(begun) > len(_SIGNATURE) and begun[12] not in (0x20, 0x21):
        raise ProxyHeaderInvalid(
            f"a PROXY header has 0x{begun[12]:02x} for version and command; 0x20 and 0x21 are known"
        )
    if len(begun) < _START.size:
        return None
    end = int(_START.size + _START.unpack_from(begun)[3])
    if end > MOST_BYTES:
        raise ProxyHeaderInvalid(f"a PROXY header has {end} bytes; at most {MOST_BYTES} are read")
    return end


def parse(header: bytes, proxy_address: Address | None) -> ProxyHeader:
    """Return what a header says that `header_end` has found; `proxy_address` is its sender's.

    Raises:
        ProxyHeaderInvalid: the specification does not allow it; says what is wrong.
    """
    if header.startswith(_LINE):
        return _parse_line(header, proxy_address)
    return _parse_binary(header, proxy_address)


# -- version 1 -----------------------------------------------------------------------------------


def _parse_line(header: bytes, proxy_address: Address | None) -> ProxyHeader:
    line = header[:-2]
    if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):  # the rest is to be ignored
        return ProxyHeader(None, ProxyInfo(proxy_address=proxy_address, version=1, is_local=True))
    words = line.split(b" ")
    families = {b"TCP4": socket.AF_INET, b"TCP6": socket.AF_INET6}
    if len(words) != 6 or words[1] not in families:
        raise ProxyHeaderInvalid(
            f"the PROXY header {line!r} is not PROXY TCP4 or TCP6, two addresses and two ports"
        )
    family = families[words[1]]
    source, destination = (_host(word, family) for word in words[2:4])
    source_port, destination_port = map(_port, words[4:])
    return ProxyHeader(
        _inet(family, source, source_port),
        ProxyInfo(
            proxy_address=proxy_address,
            version=1,
            destination_address=_inet(family, destination, destination_port),
        ),
    )


def _host(word: bytes, family: socket.AddressFamily) -> bytes:
    """Return an address in binary; inet_pton(3) takes no leading zeros and no fewer parts."""
    try:
        return socket.inet_pton(family, word.decode("ascii"))
    except (OSError, ValueError):
        kind = "IPv4" if family is socket.AF_INET else "IPv6"
        raise ProxyHeaderInvalid(f"{word!r} in a PROXY header is no address of {kind}") from None


def _port(word: bytes) -> int:
    is_number = word.isdigit() and len(word) <= len(str(_MOST_PORT))
    if not is_number or int(word) > _MOST_PORT or (word[:1] == b"0" and word != b"0"):
        raise ProxyHeaderInvalid(f"{word!r} in a PROXY header is no port from 0 to {_MOST_PORT}")
    return int(word)


# -- version 2 -----------------------------------------------------------------------------------


def _parse_binary(header: bytes, proxy_address: Address | None) -> ProxyHeader:
    _, command, transport, _ = _START.unpack_from(header)
    if command == 0x20:  # LOCAL: "must discard the protocol block including the family"
        return ProxyHeader(None, ProxyInfo(proxy_address=proxy_address, version=2, is_local=True))
    if transport not in _TRANSPORTS:
        raise ProxyHeaderInvalid(
            f"a PROXY header has 0x{transport:02x} for family and transport, which is none"
        )
    addresses = _ADDRESSES[transport >> 4]
    tlvs_off = _START.size + addresses.size
    if len(header) < tlvs_off:
        raise ProxyHeaderInvalid(
            f"a PROXY header of {len(header)} bytes has no room for its addresses, which need "
            f"{tlvs_off}"
        )
    tlvs = split(header, tlvs_off)
    check_checksum(header, tlvs_off)
    source = destination = None
    if transport & 15 == _STREAM:  # else as if unspecified (2.2)
        source, destination = _endpoints(transport >> 4, addresses.unpack_from(header, _START.size))
    return ProxyHeader(
        source,
        ProxyInfo(
            proxy_address=proxy_address,
            version=2,
            destination_address=destination,
            tlvs=tlvs,
            **decoded(tlvs),
        ),
    )


def _endpoints(family: int, fields: tuple[bytes | int, ...]) -> tuple[Address | None, ...]:
    if family == _UNIX:
        return tuple(_path(name) for name in fields if isinstance(name, bytes))
    kind = socket.AF_INET if family == _IPV4 else socket.AF_INET6
    source, destination, source_port, destination_port = fields
    return _inet(kind, source, source_port), _inet(kind, destination, destination_port)


def _inet(family: socket.AddressFamily, host: bytes | int, port: bytes | int) -> Address:
    """Return an address in the form in which a socket would give it."""
    assert isinstance(host, bytes)
    name = socket.inet_ntop(family, host)
    return (name, port) if family is socket.AF_INET else (name, port, 0, 0)


def _path(name: bytes) -> Address | None:
    if name[:1] == b"\0":
        return name.rstrip(b"\0") or None  # in the abstract namespace, or of no name
    return os.fsdecode(name.partition(b"\0")[0])
