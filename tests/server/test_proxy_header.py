"""proxy_header: where headers end, what they say, and what is no header."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.connection_info import ProxiedTls
from asyncrev.errors import ProxyHeaderInvalid, ProxyHeaderMissing
from asyncrev.server.proxy_header import MOST_BYTES, header_end, parse
from tests.fuzz import proxy_fuzz
from tests.proxy_headers import CLIENT, LOCAL_V1, LOCAL_V2, SERVER, V1, V2, checksummed, inet, v2

PROXY = ("198.51.100.1", 7)
IPV6 = inet(("2001:db8::1", 1), ("::1", 65535))
PATHS = b"/run/a".ljust(108, b"\0") + b"\0name".ljust(108, b"\0")


@pytest.mark.parametrize(
    ("header", "client", "destination"),
    [
        (V1, CLIENT, SERVER),
        (b"PROXY TCP6 2001:DB8:0::1 ::1 1 2\r\n", ("2001:db8::1", 1, 0, 0), ("::1", 2, 0, 0)),
        (
            b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n",
            ("0.0.0.0", 0),
            ("255.255.255.255", 65535),
        ),
        (V2, CLIENT, SERVER),
        (v2(IPV6, transport=0x21), ("2001:db8::1", 1, 0, 0), ("::1", 65535, 0, 0)),
        (v2(PATHS, transport=0x31), "/run/a", b"\0name"),
        (v2(bytes(216), transport=0x31), None, None),
        (v2(b"", transport=0), None, None),
        (v2(inet(), transport=0x12), None, None),  # datagrams: as if unspecified
        (checksummed(inet(), proxy_fuzz.TLVS), CLIENT, SERVER),
    ],
)
def test_addresses_are_in_the_form_of_a_socket(
    header: bytes, client: Any, destination: Any
) -> None:
    """Those of IPv6 with flow and scope, names of UNIX sockets as text or, if abstract, bytes."""
    assert header_end(header + b"data", "any") == len(header)
    found = parse(header, PROXY)
    assert found.client == client
    assert found.info.destination_address == destination
    assert found.info.proxy_address == PROXY
    assert not found.info.is_local


@pytest.mark.parametrize(
    ("header", "version"),
    [
        (LOCAL_V1, 1),
        (b"PROXY UNKNOWN ffff::1 anything at all \xff\r\n", 1),
        (LOCAL_V2, 2),
        (v2(inet(), command=0x20), 2),
        (v2(b"\xff\xff", command=0x20, transport=0xFF), 2),  # all of it is to be discarded
    ],
)
def test_local_header_names_nobody(header: bytes, version: int) -> None:
    """The peer of the socket is who it is."""
    found = parse(header, PROXY)
    assert found.client is None
    assert (found.info.is_local, found.info.version, found.info.tlvs) == (True, version, ())


def test_vectors_are_decoded_and_kept() -> None:
    """What is known of them; all as they came."""
    info = parse(v2(inet() + proxy_fuzz.TLVS), PROXY).info
    assert (info.alpn, info.authority, info.unique_id) == (b"h2", "example.org", b"id")
    assert info.tls == ProxiedTls(
        is_used=True,
        has_certificate=True,
        is_verified=True,
        version="TLSv1.3",
        common_name="Ann",
    )
    assert [kind for kind, _ in info.tlvs] == [1, 2, 4, 5, 0x20]


def outcome(header: bytes, version: str = "any") -> Any:
    """Return what is said of a whole connection: a header's end, None, or the error's type."""
    try:
        end = header_end(header, version)
        if end is not None and end <= len(header):
            parse(header[:end], PROXY)
    except (ProxyHeaderInvalid, ProxyHeaderMissing) as error:
        return type(error)
    return end


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 \r\n",
        b"PROXY TCP4  192.0.2.1 192.0.2.2 56324 443\r\n",
        b"PROXY TCP4 192.0.2.01 192.0.2.2 56324 443\r\n",
        b"PROXY TCP4 192.0.2 192.0.2.2 56324 443\r\n",
        b"PROXY TCP4 0x7f.0.0.1 192.0.2.2 56324 443\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 05632 443\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 443\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1_0 443\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 \xd9\xa1 443\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 443\r\n",
        b"PROXY TCP4 192.0.2.1\0 192.0.2.2 1 443\r\n",
        b"PROXY TCP4 ::1 ::1 1 443\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.2 1 443\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 443\r\n",
        b"PROXY TCP6 1::2::3 ::1 1 443\r\n",
        b"PROXY UDP4 192.0.2.1 192.0.2.2 1 443\r\n",
        b"PROXY tcp4 192.0.2.1 192.0.2.2 1 443\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY \r\n",
        b"PROXY TCP4 " + b"1" * 96,
    ],
)
def test_line_against_the_specification_is_refused(line: bytes) -> None:
    """Two programs that read it differently would take it for two peers."""
    assert outcome(line) is ProxyHeaderInvalid


@pytest.mark.parametrize(
    "header",
    [
        v2(inet(), command=0x22),
        v2(inet(), command=0x11),
        v2(inet(), transport=0x01),
        v2(inet(), transport=0x10),
        v2(inet(), transport=0x41),
        v2(inet(), transport=0x13),
        v2(inet()[:-1]),
        v2(IPV6[:-1], transport=0x21),
        v2(PATHS[:-1], transport=0x31),
        v2(inet() + b"\x01\0"),
        v2(inet() + b"\x01\0\x02h"),
        v2(inet() + b"\x01\0\x01h" * 2),
        checksummed(inet())[:-1] + b"\0",
        v2(bytes(MOST_BYTES - 15)),
        v2(bytes(65535)),
    ],
)
def test_binary_header_against_the_specification_is_refused(header: bytes) -> None:
    """So is one that is longer than this side reads, without waiting for its end."""
    assert outcome(header) is ProxyHeaderInvalid
    assert outcome(header[:16]) in (ProxyHeaderInvalid, len(header))


@pytest.mark.parametrize(
    "begun", [b"G", b"PROXZ", b"\r\n\r\n\0\r\nQUIZ", b"\x16\x03\x01", b"proxy "]
)
def test_what_begins_as_no_header_is_known_by_its_first_bytes(begun: bytes) -> None:
    """Nobody waits for more of it."""
    with pytest.raises(ProxyHeaderMissing, match="which is no PROXY header"):
        header_end(begun, "any")


@pytest.mark.parametrize(("header", "version", "other"), [(V1, "v1", "v2"), (V2, "v2", "v1")])
def test_version_that_is_not_allowed_is_refused_by_its_first_byte(
    header: bytes, version: str, other: str
) -> None:
    """And says so."""
    assert outcome(header, version) == len(header)
    with pytest.raises(ProxyHeaderMissing, match=f"only {other} is read"):
        header_end(header[:1], other)


@pytest.mark.parametrize("header", [V1, LOCAL_V1, V2, LOCAL_V2, checksummed(inet())])
def test_end_is_never_before_what_has_come_wherever_it_is_split(header: bytes) -> None:
    """Every cut: until the end is known, all is of the header; then it does not change."""
    ends = [header_end(header[:cut], "any") for cut in range(1, len(header) + 1)]
    known = ends.index(len(header))
    assert ends == [None] * known + [len(header)] * (len(ends) - known)


def test_longest_line_and_longest_binary_header_are_read() -> None:
    """107 and 4,096 bytes; one more of either is refused."""
    line = b"PROXY UNKNOWN ".ljust(105, b"x") + b"\r\n"
    assert outcome(line) == 107
    assert outcome(line[:-2] + b"x\r\n") is ProxyHeaderInvalid
    assert outcome(v2(bytes(MOST_BYTES - 16), command=0x20)) == MOST_BYTES


@given(st.data())
def test_library_reads_the_same_peers(data: st.DataObject) -> None:
    """proxy-protocol from PyPI agrees wherever this module accepts a header."""
    library = pytest.importorskip("proxyprotocol.detect")
    sent = proxy_fuzz.mutated(
        data.draw(st.randoms(use_true_random=False)), list(proxy_fuzz.corpus())
    )
    header = sent[1:]
    end = outcome(header)
    if not isinstance(end, int) or end > len(header):
        return
    if header[12:13] == b"\x21" and header[13] >> 4 == 3:
        return  # it fails at paths that are not ASCII
    found, read = parse(header[:end], PROXY), library.ProxyProtocolDetect().unpack(header[:end])
    if found.client is not None and not isinstance(found.client, (str, bytes)):
        assert str(read.source[0]) == str(proxy_fuzz._comparable(found.client)[0])
        assert read.source[1] == found.client[1]
    elif found.info.version == 2:
        assert read.proxied is not found.info.is_local
