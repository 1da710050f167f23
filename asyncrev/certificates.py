"""What a server's certificate says of itself: from when to when it is valid, and for which names.

Python's ssl tells it of verified peers and of authorities only. A verified handshake with itself
would refuse an expired certificate, and `cryptography` is no dependency for three fields, so they
are read from the DER here (RFC 5280, 4.1; X.690).
"""

import base64
import dataclasses
import datetime
import os
import re
import ssl
from collections.abc import Iterator

__all__ = [
    "Certificate",
    "certificate_days_left",
    "certificate_in_file",
    "certificate_of_context",
    "decode_certificate",
]

# Labels that OpenSSL takes for a certificate (PEM_read_bio_X509_AUX(3)).
_PEM = rb"-----BEGIN (X509 |TRUSTED |)CERTIFICATE-----(.+?)-----END \1CERTIFICATE-----"

_INTEGER, _OCTETS, _OID, _UTC_TIME, _TIME, _SEQUENCE = 0x02, 0x04, 0x06, 0x17, 0x18, 0x30
_EXTENSIONS = 0xA3  # [3] of TBSCertificate
_DNS_NAME = 0x82  # [2] of GeneralName
_SUBJECT_ALT_NAME = bytes((0x55, 0x1D, 0x11))  # 2.5.29.17


@dataclasses.dataclass(frozen=True, slots=True)
class Certificate:
    """What is known of a certificate.

    Attributes:
        not_before, not_after: from when to when it is valid, in UTC.
        dns_names: the host names in its subjectAltName, in lower case, in their order; "*" as it
            stands there. The subject's common name is none: clients look at it no more (RFC 9525).
    """

    not_before: datetime.datetime
    not_after: datetime.datetime
    dns_names: tuple[str, ...]

    def days_left(self, now: datetime.datetime | None = None) -> float:
        """Return how many days from `now` it is valid; negative once it has expired."""
        now = datetime.datetime.now(datetime.UTC) if now is None else now
        return (self.not_after - now) / datetime.timedelta(days=1)

    def is_early(self, now: datetime.datetime | None = None) -> bool:
        """Return whether it becomes valid after `now` only."""
        return (datetime.datetime.now(datetime.UTC) if now is None else now) < self.not_before


def certificate_days_left(source: ssl.SSLContext | str | os.PathLike[str]) -> float:
    """Return how many days a server's certificate is still valid; negative once it has expired.

    `source`: a server's context, or a PEM file whose first certificate is meant. Thread: any; a
    context takes a handshake in memory, about a millisecond.

    Raises:
        OSError: the file cannot be read.
        ValueError: there is no certificate, or none that can be decoded.
    """
    if isinstance(source, ssl.SSLContext):
        return certificate_of_context(source).days_left()
    return certificate_in_file(source).days_left()


def certificate_in_file(path: str | os.PathLike[str]) -> Certificate:
    """Return the first certificate of a PEM file, which is the server's own one in a chain.

    Raises: as `certificate_days_left`.
    """
    with open(path, "rb") as file:
        found = re.search(_PEM, file.read(), re.S)
    if found is None:
        raise ValueError(f"{os.fspath(path)!r} has no certificate in PEM")
    return decode_certificate(base64.b64decode(found[2]))


def certificate_of_context(context: ssl.SSLContext) -> Certificate:
    """Return the certificate that a server with this context shows to clients that name no host.

    ssl does not tell it of a context, but a client in memory sees it. Thread: any.

    Raises:
        ValueError: the context has none, or no client can get so far: it is a client's context, or
            admits TLS 1.2 at most and clients with certificates only.
    """
    plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    plain.check_hostname, plain.verify_mode = False, ssl.CERT_NONE
    plain.set_ciphers("ALL:@SECLEVEL=0")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = plain.wrap_bio(to_client, to_server)
    try:
        server = context.wrap_bio(to_server, to_client, server_side=True)
        while not _is_done(client):
            _is_done(server)
    except ssl.SSLError as error:
        raise ValueError(f"no handshake shows a certificate of {context!r}: {error}") from None
    der = client.getpeercert(binary_form=True)
    if der is None:
        raise ValueError(f"{context!r} has no certificate")
    return decode_certificate(der)


def _is_done(side: ssl.SSLObject) -> bool:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def decode_certificate(der: bytes) -> Certificate:
    """Return what a certificate in DER says. What follows it is not looked at.

    Raises:
        ValueError: this is no X.509 certificate.
    """
    fields = _items(_first(_first(der, _SEQUENCE), _SEQUENCE))
    # version (optional), serial number, signature algorithm, issuer, validity, ...
    for tag, _ in fields:
        if tag == _INTEGER:
            break
    sequences = [content for tag, content in fields if tag in (_SEQUENCE, _EXTENSIONS)]
    if len(sequences) < 5:
        raise ValueError("a certificate without issuer, validity, subject and key")
    times = [_time(tag, content) for tag, content in _items(sequences[2])]
    if len(times) != 2:
        raise ValueError(f"a validity of {len(times)} times instead of 2")
    names = _names(sequences[5]) if len(sequences) > 5 else ()
    return Certificate(times[0], times[1], names)


def _names(extensions: bytes) -> tuple[str, ...]:
    """Return the DNS names of subjectAltName; () without that extension."""
    for _, extension in _items(_first(extensions, _SEQUENCE)):
        parts = list(_items(extension))  # the OID, whether it is critical (optional), the value
        if len(parts) >= 2 and parts[0] == (_OID, _SUBJECT_ALT_NAME) and parts[-1][0] == _OCTETS:
            names = _items(_first(parts[-1][1], _SEQUENCE))
            return tuple(name.decode("ascii").lower() for tag, name in names if tag == _DNS_NAME)
    return ()


def _time(tag: int, content: bytes) -> datetime.datetime:
    """Return a time in the one form that RFC 5280 allows (4.1.2.5): with seconds, and in UTC."""
    digits = 12 if tag == _UTC_TIME else 14
    if tag not in (_UTC_TIME, _TIME) or not re.fullmatch(rb"\d{%d}Z" % digits, content):
        raise ValueError(f"{content!r} is no time of a certificate")
    text = content[:-1].decode()
    if tag == _UTC_TIME:
        text = ("19" if text >= "5" else "20") + text
    numbers = [int(text[:4]), *(int(text[at : at + 2]) for at in range(4, 14, 2))]
    return datetime.datetime(*numbers, tzinfo=datetime.UTC)  # type: ignore[misc, arg-type]


def _first(data: bytes, tag: int) -> bytes:
    """Return the content of the first element, which must have this tag."""
    for found, content in _items(data):
        if found == tag:
            return content
        break
    raise ValueError(f"no element with tag {tag:#04x} where one belongs")


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each element that `data` is a row of."""
    at = 0
    while at < len(data):
        head = data[at : at + 2]
        if len(head) < 2 or head[0] & 0x1F == 0x1F:  # tags of several bytes are in no certificate
            raise ValueError(f"no element at byte {at} of {len(data)}")
        at += 2
        length = head[1]
        if length >= 0x80:
            more = length - 0x80
            length = int.from_bytes(data[at : at + more], "big")
            at += more
            if not 1 <= more <= 4:
                raise ValueError(f"a length of {more} bytes")
        if at + length > len(data):
            raise ValueError(f"{length} bytes announced where {len(data) - at} are left")
        yield head[0], data[at : at + length]
        at += length
