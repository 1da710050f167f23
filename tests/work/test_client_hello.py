"""The name that a TLS client asks for, read beside OpenSSL."""

import itertools
import os
import ssl
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.work.client_hello import ClientHello
from tests.tls_pair import HANDSHAKE, client_context, record, records


def hello_of(name: str | None, version: str = "1.3") -> bytes:
    """Return what OpenSSL's client begins with."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = client_context(version)
    if name is None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
    session = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def seen(wire: bytes, *cuts: int) -> str | None:
    """Return what is read when `wire` comes in pieces."""
    hello, offs = ClientHello(), [0, *sorted(cuts), len(wire)]
    for begin, end in itertools.pairwise(offs):
        hello.see(memoryview(wire)[begin:end])
    return hello.server_name


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize(
    "name", ["localhost", "a.b", "x" * 63 + ".example", "xn--bcher-kva.example"]
)
def test_name_is_the_one_that_openssl_reads(name: str, version: str) -> None:
    """As its callback says."""
    told: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda session, given, of: told.append(given)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_side=True)
    wire = hello_of(name, version)
    incoming.write(wire)
    with pytest.raises(ssl.SSLError):  # it has no certificate
        session.do_handshake()
    assert told == [name]
    assert seen(wire) == name


@pytest.mark.parametrize("name", [None, "127.0.0.1", "::1"])
def test_no_name_is_none(name: str | None) -> None:
    """Addresses are not sent (RFC 6066, 3)."""
    assert seen(hello_of(name)) is None


@given(st.lists(st.integers(0, 600), max_size=20), st.booleans())
def test_name_is_read_however_it_is_split(cuts: list[int], into_records: bool) -> None:
    """Into chunks, and into records."""
    wire = hello_of("split.example")
    if into_records:
        body = records(wire)[0][5:]
        offs = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
        parts = itertools.pairwise(offs)
        wire = b"".join(record(HANDSHAKE, body[begin:end]) for begin, end in parts)
    assert seen(wire, *(cut for cut in cuts if cut < len(wire))) == "split.example"


def test_what_comes_later_is_not_looked_at() -> None:
    """And nothing is kept."""
    hello = ClientHello()
    hello.see(memoryview(hello_of("first.example")))
    hello.see(memoryview(hello_of("second.example")))
    assert hello.server_name == "first.example"
    assert not hello._message


@given(st.data())
def test_broken_hello_is_no_error(data: st.DataObject) -> None:
    """OpenSSL says what is wrong with it."""
    wire = bytearray(hello_of("broken.example"))
    for off in data.draw(st.lists(st.integers(0, len(wire) - 1), min_size=1, max_size=8)):
        wire[off] = data.draw(st.integers(0, 255))
    del wire[data.draw(st.integers(0, len(wire))) :]
    name = seen(bytes(wire))
    assert name is None or isinstance(name, str)


@given(st.binary(max_size=300))
def test_garbage_is_no_error(wire: bytes) -> None:
    """Nor is it a name."""
    assert seen(wire) is None
    assert seen(record(HANDSHAKE, b"\x01" + len(wire).to_bytes(3, "big") + wire)) is None


@pytest.mark.parametrize("length_bytes", [0x002000, 0xFFFFFF])
def test_endless_hello_is_given_up(length_bytes: int) -> None:
    """What is kept has a bound."""
    hello, begin = ClientHello(), b"\x01" + length_bytes.to_bytes(3, "big")
    for _ in range(100):
        hello.see(memoryview(record(HANDSHAKE, begin + os.urandom(1000))))
        assert len(hello._message) <= 20_000
        begin = b""
    assert hello._is_over
    assert not hello._message


class Counted(bytearray):
    """Counts the bytes that are added to it."""

    added_bytes = 0

    def __iadd__(self, more: Any) -> "Counted":  # type: ignore[misc,override]
        """Add and count."""
        self.added_bytes += len(more)
        self.extend(more)
        return self


def test_hello_of_tiny_records_costs_its_length_and_no_more() -> None:
    """13 KB of records with one byte each, byte by byte, took seconds of the worker."""
    body = b"\x01" + (2000).to_bytes(3, "big") + bytes(2000)
    wire = b"".join(record(HANDSHAKE, body[off : off + 1]) for off in range(len(body)))
    hello, looks = ClientHello(), 0
    hello._message = counted = Counted()

    def look(frame: Any, event: str, arg: Any) -> Any:
        nonlocal looks
        looks += event == "line"
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        for off in range(len(wire)):
            hello.see(memoryview(wire)[off : off + 1])
    finally:
        sys.settrace(before)
    assert hello._is_over
    assert counted.added_bytes == len(body)
    assert looks < 40 * len(wire)


def named(name: bytes) -> bytes:
    """Return a client's hello with `name`, which OpenSSL's client may not take."""
    host = b"\0" + len(name).to_bytes(2, "big") + name
    names = len(host).to_bytes(2, "big") + host
    extension = b"\0\0" + len(names).to_bytes(2, "big") + names
    body = b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0"
    body += len(extension).to_bytes(2, "big") + extension
    return record(HANDSHAKE, b"\x01" + len(body).to_bytes(3, "big") + body)


@pytest.mark.parametrize(
    "name", [b"a\nINFO forged", b"a\x1b[2J", b"a b", b"a\x7f", b"b\xc3\xbccher", b"a\0b", b""]
)
def test_name_that_could_forge_a_line_of_the_log_is_none(name: bytes) -> None:
    """OpenSSL takes most of them, and a processor may well log the name."""
    assert seen(named(b"plain.example")) == "plain.example"
    assert seen(named(name)) is None


def test_name_in_a_hello_that_is_too_long_is_none() -> None:
    """OpenSSL takes it; TlsInfo says so."""
    wire = named(b"x" * 16_000)
    assert seen(wire) == "x" * 16_000
    assert seen(named(b"x" * 17_000)) is None


@pytest.mark.parametrize(
    ("name", "is_ascii"), [(b"l\xf6calhost", False), (b"local\nost", True), (b"\xff" * 9, False)]
)
def test_name_that_no_callback_can_get_is_known(name: bytes, is_ascii: bool) -> None:
    """What is ASCII may be no name all the same."""
    hello = ClientHello()
    hello.see(memoryview(hello_of("localhost").replace(b"localhost", name)))
    assert (hello.server_name, hello.is_ascii) == (None, is_ascii)
