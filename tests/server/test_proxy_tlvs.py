"""proxy_tlvs: vectors, what is decoded of them, and the checksum."""

import pytest

from asyncrev.connection_info import ProxiedTls
from asyncrev.errors import ProxyHeaderInvalid
from asyncrev.server.proxy_tlvs import check_checksum, crc32c, decoded, split
from tests.proxy_headers import checksummed, inet, tlv, v2


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_checksum_is_that_of_the_rfc(data: bytes, checksum: int) -> None:
    """RFC 3720, B.4, and the usual check value."""
    assert crc32c(data) == checksum


def test_vectors_come_in_their_order_and_may_repeat_if_they_mean_nothing() -> None:
    """Padding does, and types that are somebody's own."""
    data = b"head" + tlv(4, b"") + tlv(0xEA, b"one") + tlv(4, b"x") + tlv(0xEA, b"two")
    assert split(data, 4) == ((4, b""), (0xEA, b"one"), (4, b"x"), (0xEA, b"two"))
    assert split(data, len(data)) == ()


@pytest.mark.parametrize(
    "data", [b"\x01", b"\x01\0", b"\x01\0\x01", tlv(4, b"") + b"\x02\xff\xffab"]
)
def test_vector_that_ends_behind_the_header_is_refused(data: bytes) -> None:
    """Wherever it is cut."""
    with pytest.raises(ProxyHeaderInvalid, match="a PROXY header ends"):
        split(data, 0)


def test_second_vector_of_a_meaning_is_refused() -> None:
    """Nobody knows which of the two is meant."""
    with pytest.raises(ProxyHeaderInvalid, match="two vectors of type 0x02"):
        split(tlv(2, b"a.example") + tlv(2, b"b.example"), 0)


def test_text_that_is_no_utf_8_is_left_out_and_kept_as_bytes() -> None:
    """Names in old certificates are not; that ends no connection."""
    tls = tlv(0x20, b"\x03\0\0\0\0" + tlv(0x22, b"\xe4"))
    found = decoded(split(tlv(2, b"\xff") + tls, 0))
    assert found["authority"] is None
    assert found["tls"] == ProxiedTls(is_used=True, has_certificate=True, is_verified=True)


@pytest.mark.parametrize(
    ("head", "is_used", "has_certificate", "is_verified"),
    [
        (b"\x00\0\0\0\0", False, False, False),
        (b"\x01\0\0\0\1", True, False, False),
        (b"\x01\0\0\0\0", True, False, False),  # without a certificate nothing was verified
        (b"\x03\0\0\0\0", True, True, True),
        (b"\x05\0\0\0\0", True, True, True),
        (b"\x03\0\0\0\x0a", True, True, False),
    ],
)
def test_client_is_verified_only_by_a_certificate(
    head: bytes, is_used: bool, has_certificate: bool, is_verified: bool
) -> None:
    """Given in this connection, or in the session before."""
    found = decoded(((0x20, head),))["tls"]
    assert (found.is_used, found.has_certificate) == (is_used, has_certificate)
    assert found.is_verified is is_verified


@pytest.mark.parametrize(("kind", "value"), [(5, bytes(129)), (0x20, bytes(4))])
def test_value_of_a_length_that_cannot_be_is_refused(kind: int, value: bytes) -> None:
    """A unique id has 128 bytes at most, the head of TLS five."""
    with pytest.raises(ProxyHeaderInvalid, match=r"128|at least 5"):
        decoded(((kind, value),))


def test_checksum_is_checked_wherever_it_stands() -> None:
    """One bit more, in any byte of the header, is found; without a checksum nothing is checked."""
    header = checksummed(inet(), tlv(4, b"padding"))
    check_checksum(header, 28)
    for at in range(28):
        damaged = bytearray(header)
        damaged[at] ^= 1
        with pytest.raises(ProxyHeaderInvalid, match="it should be 0x"):
            check_checksum(bytes(damaged), 28)
    check_checksum(v2(inet() + tlv(4, b"")), 28)
    with pytest.raises(ProxyHeaderInvalid, match="checksum of 3 bytes"):
        check_checksum(v2(inet() + tlv(3, b"abc")), 28)
