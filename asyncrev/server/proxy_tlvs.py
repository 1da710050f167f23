"""The type-length-value vectors of a PROXY header of version 2.

Source: proxy-protocol.txt of HAProxy, 2.2.1 to 2.2.8.
Thread: any; nothing here waits.
"""

import functools
import struct
from typing import Any

from asyncrev.connection_info import ProxiedTls
from asyncrev.errors import ProxyHeaderInvalid

__all__ = ["check_checksum", "crc32c", "decoded", "split"]

_HEAD = struct.Struct("!BH")  # type, length of the value
_TLS_HEAD = struct.Struct("!BI")  # flags of the client, 0 if its certificate was verified

ALPN, AUTHORITY, CRC32C, UNIQUE_ID, TLS = 0x01, 0x02, 0x03, 0x05, 0x20
TLS_VERSION, TLS_COMMON_NAME, TLS_CIPHER = 0x21, 0x22, 0x23
_ONCE = {ALPN, AUTHORITY, CRC32C, UNIQUE_ID, TLS, TLS_VERSION, TLS_COMMON_NAME, TLS_CIPHER}

_USES_TLS, _CERTIFICATE_NOW, _CERTIFICATE_BEFORE = 1, 2, 4
_CHECKSUM_BYTES = 4
_MOST_UNIQUE_ID_BYTES = 128

Tlvs = tuple[tuple[int, bytes], ...]


def split(data: bytes, off: int) -> Tlvs:
    """Return the vectors that `data` has from `off` to its end, in their order.

    Raises:
        ProxyHeaderInvalid: one does not end within `data`, or one with a meaning comes twice.
    """
    found: list[tuple[int, bytes]] = []
    while off < len(data):
        begin = off + _HEAD.size
        if begin > len(data):
            raise ProxyHeaderInvalid(f"a PROXY header ends within a vector, at byte {len(data)}")
        kind, nbytes = _HEAD.unpack_from(data, off)
        off = begin + nbytes
        if off > len(data):
            raise ProxyHeaderInvalid(
                f"a PROXY header ends at byte {len(data)}, its vector of type 0x{kind:02x} at {off}"
            )
        if kind in _ONCE and any(kind == other for other, _ in found):
            raise ProxyHeaderInvalid(f"a PROXY header has two vectors of type 0x{kind:02x}")
        found.append((kind, data[begin:off]))
    return tuple(found)


def decoded(tlvs: Tlvs) -> dict[str, Any]:
    """Return the fields of `ProxyInfo` that `tlvs` have.

    Raises:
        ProxyHeaderInvalid: a value is too short or too long.
    """
    if not tlvs:
        return {}
    values = dict(tlvs)
    unique_id = values.get(UNIQUE_ID)
    if unique_id is not None and len(unique_id) > _MOST_UNIQUE_ID_BYTES:
        raise ProxyHeaderInvalid(
            f"a PROXY header has a unique id of {len(unique_id)} bytes; at most "
            f"{_MOST_UNIQUE_ID_BYTES} are allowed"
        )
    return {
        "authority": _text(values.get(AUTHORITY)),
        "alpn": values.get(ALPN),
        "unique_id": unique_id,
        "tls": None if TLS not in values else _tls(values[TLS]),
    }


def _tls(value: bytes) -> ProxiedTls:
    if len(value) < _TLS_HEAD.size:
        raise ProxyHeaderInvalid(
            f"a PROXY header has {len(value)} bytes on TLS; at least {_TLS_HEAD.size} are needed"
        )
    flags, verify = _TLS_HEAD.unpack_from(value)
    inner = dict(split(value, _TLS_HEAD.size))
    has_certificate = bool(flags & (_CERTIFICATE_NOW | _CERTIFICATE_BEFORE))
    return ProxiedTls(
        is_used=bool(flags & _USES_TLS),
        has_certificate=has_certificate,
        # "0 if the client presented a certificate and it was successfully verified"; some senders
        # leave it 0 without one.
        is_verified=has_certificate and not verify,
        version=_text(inner.get(TLS_VERSION)),
        cipher=_text(inner.get(TLS_CIPHER)),
        common_name=_text(inner.get(TLS_COMMON_NAME)),
    )


def _text(value: bytes | None) -> str | None:
    """Return a value as text; None if it is no UTF-8, as names in old certificates may be."""
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def check_checksum(header: bytes, off: int) -> None:
    """Check the vector of the checksum, if `header`, whose vectors begin at `off`, has one.

    Raises:
        ProxyHeaderInvalid: it is not that of the header.
    """
    while off < len(header):
        kind, nbytes = _HEAD.unpack_from(header, off)
        begin = off + _HEAD.size
        off = begin + nbytes
        if kind != CRC32C:
            continue
        if nbytes != _CHECKSUM_BYTES:
            raise ProxyHeaderInvalid(f"a PROXY header has a checksum of {nbytes} bytes; it has 4")
        said = int.from_bytes(header[begin:off], "big")
        found = crc32c(header[:begin] + bytes(_CHECKSUM_BYTES) + header[off:])
        if said != found:
            raise ProxyHeaderInvalid(
                f"a PROXY header has the checksum 0x{said:08x}; it should be 0x{found:08x}"
            )


def crc32c(data: bytes) -> int:
    """Return the checksum of RFC 3720, appendix B.4; 4 KiB take about 0.3 ms."""
    table = _table()
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@functools.cache
def _table() -> tuple[int, ...]:
    found = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        found.append(crc)
    return tuple(found)
