"""proxy_header: recognized by its first bytes, warned of once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.command.proxy_header import LOOKED_AT_BYTES, ProxyHeaderWarning, proxy_header_version

V1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12)


@pytest.mark.parametrize(
    ("first", "version"),
    [
        (V1, 1),
        (b"PROXY TCP6 ::1 ::1 1 2\r\n", 1),
        (b"PROXY UNKNOWN\r\n", 1),
        (V2, 2),
        (V1[:LOOKED_AT_BYTES], 1),
        (V2[:LOOKED_AT_BYTES], 2),
        (b"", None),
        (b"PROXY", None),
        (b"PROXY is a word", None),
        (b"proxy tcp4 ", None),
        (b"GET / HTTP/1.1\r\n", None),
        (b"\r\n\r\n", None),
        (b"x" + V1, None),
    ],
)
def test_header_is_known_by_what_it_begins_with(first: bytes, version: int | None) -> None:
    """Nothing that a client would say by chance."""
    assert proxy_header_version(first) == version


@given(st.binary(max_size=LOOKED_AT_BYTES), st.binary(max_size=50))
def test_more_bytes_than_are_looked_at_change_nothing(first: bytes, more: bytes) -> None:
    """So a large chunk is not copied for it."""
    first = first.ljust(LOOKED_AT_BYTES, b"x")
    assert proxy_header_version(first + more) == proxy_header_version(first)


@pytest.mark.parametrize(("header", "version"), [(V1, 1), (V2, 2)])
def test_only_the_first_header_is_warned_of(
    header: bytes, version: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A proxy sends one with every connection; other beginnings are looked at until then."""
    look = ProxyHeaderWarning()
    assert look(memoryview(b"GET / HTTP/1.1\r\n"))
    assert look(memoryview(b"P"))
    assert not caplog.records
    assert not look(memoryview(header))
    assert not look(memoryview(header))
    assert not look(memoryview(b"GET /"))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f"a PROXY header (version {version})" in record.getMessage()
    assert "because --proxy-protocol is off; give it" in record.getMessage()
    assert "or remove send-proxy (HAProxy) or proxy_protocol (nginx" in record.getMessage()


def test_warning_of_a_server_that_reads_headers_names_the_list(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """There it is the address that is missing."""
    assert not ProxyHeaderWarning(reads_headers=True)(memoryview(V1))
    assert "because its sender is not in --proxy-from" in caplog.text
