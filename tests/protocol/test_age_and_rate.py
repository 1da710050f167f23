"""protocol: what the peer of an old connection sees, and one that is slower than it may be."""

import asyncio
import contextlib
import logging
import socket
import ssl

import pytest

from asyncrev import Limits
from asyncrev.connection.age import Age
from tests.framed import Inverting, framed
from tests.protocol.served import gated_swapcase, in_thread, letters, tcp_only
from tests.protocol.test_deadlines import (
    VIRTUAL,
    Sweeps,
    answered,
    arrived,
    connect,
    gone,
    only_connection,
    served,
)
from tests.support import is_paused, receive_all, until
from tests.tls_pair import client_context, server_context

pytestmark = tcp_only  # time is the same over all connections
on_all = pytest.mark.asyncio

OLD = VIRTUAL.replace(max_connection_age_s=500)
RATED = VIRTUAL.replace(min_rate_bytes_per_s=100)


@on_all
async def test_old_connection_that_is_idle_ends_in_good_order_and_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Between 450 and 550 s; it is passed over until then."""
    async with served(OLD) as server:
        client = connect(server)
        await answered(server, client, framed("len32", b"abc"))
        connection = await only_connection(server)
        sweeps = Sweeps(connection)
        connection._age = Age(500)
        assert sweeps.at(0) is None
        look_at_s = connection._lane.look_at_s - sweeps.start_s
        assert 450 <= look_at_s <= 550
        assert sweeps.at(look_at_s - 0.1) is None
        await answered(server, client, framed("len32", b"def"))
        with caplog.at_level(logging.INFO, "asyncrev"):
            assert sweeps.at(look_at_s) is None
        assert "max_connection_age_s is 500" in caplog.text
        assert await in_thread(receive_all, client) == b""
        client.close()
        await gone(server, "connection age")


@on_all
@pytest.mark.parametrize("over", ["plain", "TLS"])
async def test_old_connection_gets_every_reply_that_is_due(over: str) -> None:
    """What had arrived is worked on and answered whole, at its peer's own speed."""
    frame = framed("len32", letters(7000))
    more = {"ssl": server_context()} if over == "TLS" else {}
    async with served(OLD, **more) as server:
        plain = connect(server)
        if over == "TLS":
            wrap = client_context().wrap_socket
            client: socket.socket = await in_thread(
                lambda: wrap(plain, server_hostname="localhost")
            )
        else:
            client = plain
        connection = await only_connection(server)
        sent = 20
        sending = asyncio.ensure_future(in_thread(client.sendall, frame * sent))
        await until(lambda: connection.received_bytes >= 7000, "some has come")
        await asyncio.wait([sending], timeout=0.5)  # as much as goes before replies are taken
        sweeps = Sweeps(connection)
        connection._age = Age(500)
        assert sweeps.at(0) is None
        assert sweeps.at(600) is None
        reader = asyncio.ensure_future(in_thread(receive_all_of, client))
        got = await reader
        await asyncio.wait([sending])
        sending.exception()
        reply = framed("len32", Inverting.answer(letters(7000)))
        whole = len(got) // len(reply)
        assert whole >= 1
        assert got == reply * whole  # nothing is cut
        client.close()
        await gone(server, "connection age")


def receive_all_of(sock: socket.socket) -> bytes:
    """Return what comes until the end, be that a reset because the peer was sending."""
    parts = []
    while True:
        try:
            part = sock.recv(65536)
        except (ConnectionError, ssl.SSLError):
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts)


@on_all
async def test_old_connection_that_is_not_done_in_time_is_aborted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By a timer of its own, with a reason of its own; it is reset, for it was owed a reply."""
    gate, processor = gated_swapcase()
    async with served(OLD.replace(drain_timeout_s=0.2), "raw", processor) as server:
        client = connect(server)
        await in_thread(client.sendall, b"abc")
        connection = await only_connection(server)
        await until(lambda: connection.received_bytes, "it has come")
        sweeps = Sweeps(connection)
        connection._age = Age(500)
        assert sweeps.at(0) is None
        assert sweeps.at(600) is None
        with pytest.raises(ConnectionResetError):
            await in_thread(receive_all, client)
        client.close()
        await gone(server, "connection age, drain deadline")
        gate.set()
    assert "aborted: connection age, drain deadline" in caplog.text


@on_all
async def test_slow_frame_ends_as_a_late_one_does(caplog: pytest.LogCaptureFixture) -> None:
    """Earlier replies arrive, then FIN; both values are in the line."""
    whole, frame = framed("len32", b"whole"), framed("len32", letters(5000))
    async with served(RATED) as server:
        client = connect(server)
        connection = await arrived(server, client, whole + frame[:9])
        sweeps = Sweeps(connection)
        assert sweeps.at(0) is None
        await in_thread(client.sendall, frame[9:2009])
        await until(lambda: connection.received_bytes == len(whole) + 2009, "it came")
        await until(lambda: not connection._lane.in_flight_entries, "it is back")
        assert sweeps.at(19) is None
        assert sweeps.at(28.9) is None
        with caplog.at_level(logging.WARNING, "asyncrev"):
            assert sweeps.at(29) == "input rate"
        assert "0 bytes of a frame came in 10.0 s; min_rate_bytes_per_s is 100" in caplog.text
        assert await in_thread(receive_all, client) == framed("len32", Inverting.answer(b"whole"))
        client.close()
        await gone(server, "input rate")


@on_all
async def test_slow_reader_is_reset(caplog: pytest.LogCaptureFixture) -> None:
    """It could not take what it has for everything."""
    async with served(RATED.replace(write_stall_timeout_s=1e6)) as server:
        client = connect(server)
        connection = await only_connection(server)
        frame = framed("len32", letters(7000))
        sending = asyncio.ensure_future(in_thread(client.sendall, frame * 3000))
        await until(lambda: connection._transport.get_write_buffer_size() > 0, "some wait")
        await until(lambda: is_paused(connection), "it is not read")
        sweeps = Sweeps(connection)
        assert sweeps.at(0) is None
        assert sweeps.at(655) is None
        with caplog.at_level(logging.WARNING, "asyncrev"):
            assert sweeps.at(5000) == "reply rate"
        assert "min_rate_bytes_per_s is 100" in caplog.text
        with pytest.raises(ConnectionError):
            await sending
        client.close()
        await gone(server, "reply rate")


def test_limits_are_off_by_default() -> None:
    """A connection has no object for its age."""
    assert Limits().max_connection_age_s == float("inf")
    assert Limits().min_rate_bytes_per_s == 0


@on_all
async def test_peer_that_ended_its_tls_and_takes_no_replies_is_a_write_stall() -> None:
    """Everything is answered then, and used to wait for it for ever."""
    limits = VIRTUAL.replace(write_stall_timeout_s=0.5, linger_timeout_s=0.1)
    async with served(limits, "raw", Inverting, ssl=server_context()) as server:
        plain = connect(server)

        def end_unread() -> ssl.SSLSocket:
            client = client_context().wrap_socket(plain, server_hostname="localhost")
            client.sendall(letters(60_000))
            client.settimeout(0.1)
            with contextlib.suppress(OSError):
                client.unwrap()  # sends close_notify; the replies before the peer's are not read
            return client

        client = await in_thread(end_unread)
        await gone(server, "write stall")
        client.close()
