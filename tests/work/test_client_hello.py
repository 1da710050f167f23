"""The name that a TLS client asks for, read beside OpenSSL."""

import itertools
import os
import ssl

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
    assert not hello._gathered


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


def test_endless_hello_is_given_up() -> None:
    """What is kept has a bound."""
    hello = ClientHello()
    for _ in range(100):
        hello.see(memoryview(record(HANDSHAKE, b"\x01\xff\xff\xff" + os.urandom(1000))))
        assert len(hello._gathered) <= 20_000
    assert hello._is_over
