"""server_tls: the context of a server's connections, swapped while it serves."""

import asyncio
import socket
import ssl
from typing import Any

import pytest

import asyncrev
from asyncrev.errors import LocalError, SettingsError
from asyncrev.server.server_tls import ServerTls
from tests.support import receive_exactly

trustme = pytest.importorskip("trustme")


def server_context(authority: Any) -> ssl.SSLContext:
    """Return a server's context with a certificate for localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


def ask_over(authority: Any, port: int) -> ssl.SSLSocket:
    """Return a client that trusts `authority` only, after an exchange."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    plain = socket.create_connection(("127.0.0.1", port), 10)
    client = context.wrap_socket(plain, server_hostname="localhost")
    exchange(client)
    return client


def exchange(client: ssl.SSLSocket) -> None:
    client.sendall(b"abc")
    assert receive_exactly(client, 3) == b"cba"


@pytest.mark.asyncio
async def test_new_connections_use_the_new_context_and_old_ones_go_on() -> None:
    """A client that trusts the new authority only is served; the old connection is as it was."""
    old, new = trustme.CA(), trustme.CA()
    async with await asyncrev.serve("127.0.0.1", 0, ssl=server_context(old)) as server:
        first = await asyncio.to_thread(ask_over, old, server.port)
        server.swap_ssl(server_context(new))
        second = await asyncio.to_thread(ask_over, new, server.port)
        with first, second:
            await asyncio.to_thread(exchange, first)
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.to_thread(ask_over, old, server.port)


@pytest.mark.asyncio
async def test_statistics_have_the_days_of_the_certificate() -> None:
    """trustme's are valid for years; a server without TLS has none."""
    async with await asyncrev.serve("127.0.0.1", 0, ssl=server_context(trustme.CA())) as server:
        days = server.statistics().certificate_days_left
        assert days is not None
        assert days > 300
    async with await asyncrev.serve("127.0.0.1", 0) as server:
        assert server.statistics().certificate_days_left is None


def test_context_that_cannot_serve_is_refused_and_the_one_before_stays() -> None:
    """A client's, or none at all."""
    context = server_context(trustme.CA())
    tls = ServerTls(context)
    lax = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    lax.check_hostname = False
    wrong: Any
    for wrong, said in ((ssl.create_default_context(), "client"), (lax, "client"), (True, "True")):
        with pytest.raises(SettingsError, match=said):
            tls.swap(wrong)
        assert tls.context is context


def test_server_without_tls_cannot_begin_it() -> None:
    """Its clients do not expect it."""
    with pytest.raises(LocalError, match="has no TLS"):
        ServerTls(None).swap(server_context(trustme.CA()))


def test_context_without_a_certificate_has_no_days() -> None:
    """It is taken: a callback may choose one by the client's name."""
    tls = ServerTls(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    assert tls.certificate_days_left() is None
