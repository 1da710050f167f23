"""PROXY headers for tests: how to make them, and an oracle that reads them in another way."""

import ipaddress
import re
import struct
from typing import Any

from asyncrev.server.proxy_tlvs import crc32c

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
CLIENT, SERVER = ("192.0.2.1", 56324), ("192.0.2.2", 443)
V1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"
LOCAL_V1 = b"PROXY UNKNOWN\r\n"


def tlv(kind: int, value: bytes) -> bytes:
    """Return a vector."""
    return struct.pack("!BH", kind, len(value)) + value


def v2(block: bytes, *, command: int = 0x21, transport: int = 0x11) -> bytes:
    """Return a header of version 2; `block` is all behind the length."""
    return SIGNATURE + struct.pack("!BBH", command, transport, len(block)) + block


def inet(source: tuple[str, int] = CLIENT, destination: tuple[str, int] = SERVER) -> bytes:
    """Return the addresses of a header of version 2, for IPv4 or IPv6."""
    hosts = [ipaddress.ip_address(host).packed for host, _ in (source, destination)]
    return b"".join(hosts) + struct.pack("!HH", source[1], destination[1])


def checksummed(block: bytes, tlvs: bytes = b"") -> bytes:
    """Return a header of version 2 with a checksum between its addresses and `tlvs`."""
    blank = v2(block + tlv(3, bytes(4)) + tlvs)
    off = 16 + len(block) + 3
    return blank[:off] + crc32c(blank).to_bytes(4, "big") + blank[off + 4 :]


V2 = v2(inet())
LOCAL_V2 = v2(b"", command=0x20, transport=0)

_NUMBER = rb"(0|[1-9]\d{0,4})"
_LINE = re.compile(rb"PROXY (TCP4|TCP6) ([^ ]+) ([^ ]+) %b %b\r\n" % (_NUMBER, _NUMBER))
_SIZES = {0x00: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}

MORE, REFUSED = "more", "refused"


def expected(data: bytes, version: str = "any") -> Any:
    """Return what becomes of a connection that begins with `data`: an oracle.

    MORE, REFUSED, or (length of the header, client's address or None, whether it is local).
    """
    signatures = {"v1": (b"PROXY ",), "v2": (SIGNATURE,)}.get(version, (b"PROXY ", SIGNATURE))
    if not any(one.startswith(data[: len(one)]) for one in signatures):
        return REFUSED
    return _line(data) if data[:1] == b"P" else _binary(data)


def _line(data: bytes) -> Any:
    line, end, _ = data.partition(b"\r\n")
    if len(line) > 105 or not end:
        return REFUSED if len(data) >= 107 else MORE
    line += end
    if line[:14] == b"PROXY UNKNOWN " or line == LOCAL_V1:
        return len(line), None, True
    match = _LINE.fullmatch(line)
    if match is None:
        return REFUSED
    family = ipaddress.IPv4Address if match[1] == b"TCP4" else ipaddress.IPv6Address
    try:
        source, _ = (family(host.decode("ascii")) for host in match.groups()[1:3])
    except ValueError:
        return REFUSED
    ports = [int(port) for port in match.groups()[3:]]
    if b"%" in match[2] + match[3] or max(ports) > 65535:
        return REFUSED
    return len(line), (source, ports[0]), False


def _binary(data: bytes) -> Any:
    if len(data) > 12 and data[12] not in (0x20, 0x21):
        return REFUSED
    if len(data) < 16:
        return MORE
    end = 16 + int.from_bytes(data[14:16], "big")
    if end > 4096:
        return REFUSED
    if len(data) < end:
        return MORE
    header, transport = data[:end], data[13]
    if data[12] == 0x20:
        return end, None, True
    nbytes = _SIZES.get(transport)
    if nbytes is None or end < 16 + nbytes or not _good_vectors(header, 16 + nbytes):
        return REFUSED
    body = header[16:]
    if transport == 0x11:
        client: Any = (ipaddress.IPv4Address(body[:4]), int.from_bytes(body[8:10], "big"))
    elif transport == 0x21:
        client = (ipaddress.IPv6Address(body[:16]), int.from_bytes(body[32:34], "big"))
    else:
        client = None if transport != 0x31 or not body[:108].strip(b"\0") else body[:108]
    return end, client, False


def _vectors(data: bytes) -> list[tuple[int, bytes]] | None:
    found = []
    while data:
        nbytes = int.from_bytes(data[1:3], "big")
        if len(data) < 3 + nbytes:
            return None
        found.append((data[0], data[3 : 3 + nbytes]))
        data = data[3 + nbytes :]
    kinds = [kind for kind, _ in found if kind in (1, 2, 3, 5, 0x20, 0x21, 0x22, 0x23)]
    return found if len(kinds) == len(set(kinds)) else None


def _good_vectors(header: bytes, off: int) -> bool:
    found = _vectors(header[off:])
    if found is None:
        return False
    values = dict(found)
    if len(values.get(5, b"")) > 128:
        return False
    if 0x20 in values and (len(values[0x20]) < 5 or _vectors(values[0x20][5:]) is None):
        return False
    if 3 not in values:
        return True
    before = found[: [kind for kind, _ in found].index(3)]
    at = off + sum(3 + len(value) for _, value in before) + 3
    return len(values[3]) == 4 and values[3] == _bitwise_crc32c(
        header[:at] + bytes(4) + header[at + 4 :]
    )


def _bitwise_crc32c(data: bytes) -> bytes:
    """Return the checksum bit by bit, as its polynomial is written in RFC 3720, 12.1."""
    crc = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            high = crc >> 31 ^ (byte >> bit & 1)
            crc = (crc << 1 & 0xFFFFFFFF) ^ (0x1EDC6F41 if high else 0)
    reflected = int(f"{crc ^ 0xFFFFFFFF:032b}"[::-1], 2)
    return reflected.to_bytes(4, "big")
