"""server: starts whole or not at all, holds its limit, counts, and closes once."""

import asyncio
import contextlib
import dataclasses
import functools
import gc
import os
import pathlib
import socket
import threading
import types
from typing import Any

import pytest

import asyncrev
from asyncrev import Bridge, Server
from asyncrev.errors import LocalError, SettingsError, WorkerDied
from asyncrev.server.listen_sockets import open_tcp
from asyncrev.states import ServerState
from asyncrev.statistics import ClosedConnection
from tests.netstring import Netstring
from tests.protocol.served import SMALL, Swapcase, connect, in_thread, letters
from tests.support import (
    DEADLINE_S,
    is_paused,
    receive_all,
    receive_exactly,
    reset,
    until,
    wait_arrived,
)

on_all = pytest.mark.asyncio
on_epoll = pytest.mark.asyncio(loop_factories=["epoll"])


def ask(server: Server, data: bytes) -> bytes:
    """Return the whole answer to `data`."""
    with connect(server) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return receive_all(client)


# -- start ---------------------------------------------------------------------------------------


@on_all
async def test_serve_answers_on_a_free_port_of_its_own() -> None:
    """By default it reverses; repr says where it is and how it is."""
    async with await asyncrev.serve("127.0.0.1", 0) as server:
        assert server.port == server.addresses[0][1] > 0
        assert server.state is ServerState.SERVING
        assert repr(server) == f"<Server serving 127.0.0.1:{server.port} connections=0>"
        assert await in_thread(ask, server, b"hello") == b"olleh"
    assert server.state is ServerState.CLOSED
    assert not server.addresses


@on_epoll
async def test_idle_connection_keeps_no_dict_no_bound_method_and_no_empty_buffer() -> None:
    """Of ten thousand connections each of these would take a megabyte; see docs/memory.md."""
    server = await asyncrev.serve("127.0.0.1", 0, limits=SMALL)
    async with server:
        assert await in_thread(ask, server, b"abc") == b"cba"
        server.watch_first_input(lambda first: True)  # which is not received by the plane
        with connect(server) as client:
            await in_thread(client.sendall, b"abc")
            assert await in_thread(receive_exactly, client, 3) == b"cba"
            await until(lambda: len(server.connections) == 1, "the first has gone")
            (connection,) = server.connections
            connection.on_sweep(asyncio.get_running_loop().time())
            transport, lane = connection._transport, connection._lane
            assert transport._gate is lane, "it is served directly"
            parts = (
                *(connection, transport, lane, lane.work, lane.work.window),
                *(connection._reading, connection._input, connection._deadlines),
            )
            assert [part for part in parts if hasattr(part, "__dict__")] == []
            needless = (types.MethodType, functools.partial, bytearray, dict)
            for part in (*parts, lane.work.processor):
                assert [o for o in gc.get_referents(part) if isinstance(o, needless)] == []
            # The plane in Python keeps two of the socket.
            kept = [o for part in parts if part is not lane for o in gc.get_referents(part)]
            assert [o for o in kept if isinstance(o, types.BuiltinMethodType)] == []
            assert connection._accepted_from is transport.get_extra_info("peername")
            assert connection.info.peer_address is transport.get_extra_info("peername")
            assert connection.info.local_address is transport.get_extra_info("sockname")


@on_all
async def test_serve_on_a_unix_path_removes_it_at_the_end(tmp_path: pathlib.Path) -> None:
    """`uds=`."""
    path = str(tmp_path / "socket")
    async with await asyncrev.serve(uds=path, processor=Swapcase, limits=SMALL) as server:
        assert server.addresses == [path]
        assert await in_thread(ask, server, letters(9000)) == letters(9000).swapcase()
    assert not os.listdir(tmp_path)


@on_all
async def test_serve_on_a_listening_socket_of_the_caller() -> None:
    """`sock=`: from then on it is the server's."""
    sock = socket.create_server(("127.0.0.1", 0))
    async with await asyncrev.serve(sock=sock, processor=bytes.upper, limits=SMALL) as server:
        assert server.addresses == [sock.getsockname()]
        assert await in_thread(ask, server, b"hello") == b"HELLO"
    assert sock.fileno() == -1


@on_all
async def test_start_on_a_used_port_raises_and_leaves_nothing() -> None:
    """No thread, no descriptor; whoever waits for the server is let go."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = Server(limits=SMALL)
        with pytest.raises(OSError, match="in use"):
            await server.start("127.0.0.1", other.getsockname()[1])
    assert server.state is ServerState.CLOSED
    assert not server.bridges[0].is_running
    await server.serve_forever()
    await server.close()
    assert await server.drain()


@on_epoll
async def test_start_that_fails_late_closes_what_it_has_opened(
    tmp_path: pathlib.Path,
) -> None:
    """The path, too, when the worker's thread cannot be started."""
    server = Server(limits=SMALL)

    def fail() -> None:
        raise RuntimeError("can't start new thread")

    server.bridges[0].start = fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="new thread"):
        await server.start(uds=str(tmp_path / "socket"))
    assert not os.listdir(tmp_path)
    assert server.state is ServerState.CLOSED


@on_epoll
async def test_close_while_it_starts_leaves_nothing_listening(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The start fails instead of listening for ever."""
    opened: list[socket.socket] = []
    opening, closed = asyncio.Event(), asyncio.Event()

    async def open_late(*where: Any) -> list[socket.socket]:
        opened.extend(await open_tcp(*where))
        opening.set()
        await closed.wait()
        return opened

    monkeypatch.setattr("asyncrev.server.listeners.open_tcp", open_late)
    server = Server(limits=SMALL)
    starting = asyncio.create_task(server.start("127.0.0.1", 0))
    await opening.wait()
    await server.close()
    closed.set()
    with pytest.raises(LocalError, match="closed while it started"):
        await starting
    assert not server.addresses
    assert [sock.fileno() for sock in opened] == [-1]


@on_epoll
async def test_start_twice_is_refused() -> None:
    """And the first start stands."""
    async with await asyncrev.serve("127.0.0.1", 0, limits=SMALL) as server:
        with pytest.raises(LocalError, match="START"):
            await server.start("127.0.0.1", 0)
        assert await in_thread(ask, server, b"ab") == b"ba"


def test_server_with_no_processor_is_refused() -> None:
    """When it is made."""
    with pytest.raises(SettingsError):
        Server(7, limits=SMALL)


# -- TLS -----------------------------------------------------------------------------------------


@on_all
async def test_serve_over_tls_survives_a_peer_without(contexts: Any) -> None:
    """`ssl=`; a handshake that fails is nobody's traceback and takes no place."""

    def talk(server: Server) -> bytes:
        with connect(server) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n" * 10)
            try:
                receive_all(client)
            except ConnectionResetError:
                pass
        with (
            connect(server) as client,
            contexts[1].wrap_socket(client, server_hostname="localhost") as tls,
        ):
            tls.sendall(b"secret")
            return receive_exactly(tls, 6)

    limits = SMALL.replace(max_connections=1)
    async with await asyncrev.serve("127.0.0.1", 0, ssl=contexts[0], limits=limits) as server:
        assert await in_thread(talk, server) == b"terces"
        await until(lambda: not server.statistics().connections, "they have gone")
        assert server.statistics().accepted == 2


@on_all
@pytest.mark.parametrize("drains", [False, True])
async def test_end_during_a_handshake_waits_for_no_stalled_peer(
    contexts: Any, drains: bool
) -> None:
    """A drain says that it was not in time; no task is left, on a shared bridge neither."""
    async with Bridge(SMALL) as bridge:
        server = await asyncrev.serve("127.0.0.1", 0, ssl=contexts[0], bridge=bridge)
        with connect(server):
            await until(lambda: len(server.connections), "it is shaking hands")
            if drains:
                assert not await server.drain(0.01)
                assert server.statistics().aborted == {"drain deadline": 1}
            else:
                await server.close()
            assert server.connections.is_idle


@on_all
async def test_drain_over_tls_answers_what_the_tls_layer_holds(contexts: Any) -> None:
    """It has taken more from the kernel than the connection may read for now."""
    gate, sent = threading.Event(), threading.Event()

    class Gated(Swapcase):
        def process(self, chunk: memoryview) -> bytes:
            assert gate.wait(10)
            return super().process(chunk)

    def talk(server: Server) -> bytes:
        with (
            connect(server) as client,
            contexts[1].wrap_socket(client, server_hostname="localhost") as tls,
        ):
            tls.sendall(letters(60_000))
            wait_arrived(tls)  # the records after the first may wait for an acknowledgement
            sent.set()
            return receive_exactly(tls, 60_001)

    server = await asyncrev.serve("127.0.0.1", 0, processor=Gated, ssl=contexts[0], limits=SMALL)
    talking = asyncio.create_task(in_thread(talk, server))
    await until(sent.is_set, "it was sent")
    await until(lambda: any(is_paused(c) for c in server.connections), "reading has paused")
    draining = asyncio.create_task(server.drain())
    await until(lambda: server.state is ServerState.DRAINING, "it drains")
    gate.set()
    assert await talking == letters(60_000).swapcase()
    assert await draining


@on_all
async def test_handshake_that_takes_too_long_is_aborted_and_counted(contexts: Any) -> None:
    """A peer that says nothing holds a descriptor no longer than that; others are served."""
    limits = SMALL.replace(tls_handshake_timeout_s=0.1, max_connections=1)

    def talk(server: Server) -> bytes:
        with (
            connect(server) as client,
            contexts[1].wrap_socket(client, server_hostname="localhost") as tls,
        ):
            tls.sendall(b"secret")
            return receive_exactly(tls, 6)

    async with await asyncrev.serve("127.0.0.1", 0, ssl=contexts[0], limits=limits) as server:
        with connect(server) as silent:
            await until(lambda: server.statistics().aborted, "it is aborted")
            assert server.statistics().aborted == {"TLS handshake deadline": 1}
            assert await in_thread(receive_all, silent) == b""
        # For a handshake in the time that a busy machine may need.
        server.limits = SMALL
        assert await in_thread(talk, server) == b"terces"
        # Python's client closes its socket without close_notify.
        assert set(server.statistics().aborted) <= {"TLS handshake deadline", "TLS truncated"}


# -- limits and statistics -----------------------------------------------------------------------


@on_all
async def test_limit_of_connections_stops_accepting_and_serves_the_rest_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The kernel's backlog holds them; nobody is refused."""
    limits = SMALL.replace(max_connections=2)
    async with await asyncrev.serve("127.0.0.1", 0, processor=Swapcase, limits=limits) as server:
        clients = [connect(server) for _ in range(5)]
        for client in clients:
            client.sendall(b"abc")
        await until(lambda: server.statistics().connections == 2, "two are in")
        assert not server.statistics().accepting
        assert "max_connections, which is 2, is reached" in caplog.text
        assert server.statistics().accepted == 2
        for client in clients:
            assert await in_thread(receive_exactly, client, 3) == b"ABC"
            client.close()
        await until(lambda: not server.statistics().connections, "all have gone")
        statistics = server.statistics()
        assert statistics.accepting
        assert (statistics.accepted, statistics.connections_high) == (5, 2)


@on_all
async def test_statistics_add_up_over_open_and_gone_connections() -> None:
    """And the bridge's are in there."""
    async with await asyncrev.serve("127.0.0.1", 0, limits=SMALL) as server:
        for _ in range(3):
            assert await in_thread(ask, server, b"12345") == b"54321"
        with connect(server) as client:
            client.sendall(b"1234567")
            assert await in_thread(receive_exactly, client, 7) == b"7654321"
            await until(lambda: server.statistics().connections == 1, "three have gone")
            statistics = server.statistics()
            assert statistics.accepted == 4
            assert statistics.received_bytes == statistics.replied_bytes == 22
            assert statistics.aborted == {}
            assert statistics.accept_errors == 0
            assert statistics.memory_bound_bytes == SMALL.memory_bound_bytes
            assert statistics.bridge.lanes >= 1
    assert server.statistics().received_bytes == 22
    assert server.statistics().aborted == {"server closed": 1}


@on_all
async def test_two_servers_share_a_bridge() -> None:
    """Closing one leaves the other and the bridge alone."""
    async with Bridge(SMALL) as bridge:
        one = await asyncrev.serve("127.0.0.1", 0, bridge=bridge)
        two = await asyncrev.serve("127.0.0.1", 0, bridge=bridge, processor=bytes.upper)
        assert one.limits is SMALL
        assert await in_thread(ask, one, b"abc") == b"cba"
        await one.close()
        assert bridge.is_running
        assert await in_thread(ask, two, b"abc") == b"ABC"
        assert await two.drain()


# -- frames --------------------------------------------------------------------------------------


@on_all
@pytest.mark.parametrize("framing", ["line", "len32", "len64"])
async def test_serve_with_frames_answers_frames_and_tells_their_memory_bound(framing: str) -> None:
    """`framing=`, with a plain function of frames; the last line needs no end."""

    def frame(payload: bytes) -> bytes:
        if framing == "line":
            return payload + b"\n"
        return len(payload).to_bytes({"len32": 4, "len64": 8}[framing], "big") + payload

    async with await asyncrev.serve(
        "127.0.0.1", 0, processor=bytes.upper, framing=framing, limits=SMALL
    ) as server:
        sent = frame(b"ab") + frame(b"") + frame(letters(3000))
        assert await in_thread(ask, server, sent) == frame(b"AB") + frame(b"") + frame(
            letters(3000).upper()
        )
        amplified_bytes = (SMALL.max_connections + 2) * SMALL.amplified_bytes
        assert server.memory_bound_bytes == SMALL.framed_memory_bound_bytes + amplified_bytes
        assert server.statistics().memory_bound_bytes == server.memory_bound_bytes
        await until(lambda: not server.statistics().bridge.lanes, "the lane is gone")
        assert server.statistics().bridge.pool.reserved_bytes == 0


@on_all
async def test_peer_with_a_frame_too_large_gets_earlier_replies_and_is_counted() -> None:
    """By its reason; the next peer is served."""
    limits = SMALL.replace(max_frame_bytes=100)
    async with await asyncrev.serve("127.0.0.1", 0, framing="len32", limits=limits) as server:
        good = b"\0\0\0\3abc"
        assert await in_thread(ask, server, good + b"\0\0\0\x65") == b"\0\0\0\3cba"
        await until(lambda: server.statistics().aborted, "it is counted")
        assert server.statistics().aborted == {"frame too large": 1}
        assert await in_thread(ask, server, good + good[:5]) == b"\0\0\0\3cba"
        await until(lambda: len(server.statistics().aborted) == 2, "so is the next")
        assert server.statistics().aborted == {"frame too large": 1, "incomplete frame": 1}
        assert await in_thread(ask, server, good) == b"\0\0\0\3cba"
        assert server.statistics().bridge.processor_errors == 0


@on_epoll
async def test_longer_frames_than_the_budget_of_a_shared_bridge_are_refused() -> None:
    """When the server is made; shorter ones, or none, are no matter."""
    longer = SMALL.replace(max_frame_bytes=SMALL.max_frame_bytes + 1)
    async with Bridge(SMALL) as bridge:
        with pytest.raises(SettingsError, match=r"is 1048577; the limits of this bridge allow"):
            Server(framing="line", limits=longer, bridge=bridge)
        Server(limits=longer, bridge=bridge)
        Server(framing="line", limits=SMALL.replace(max_frame_bytes=9), bridge=bridge)
    Server(framing="line", limits=longer)


class Roomy(Netstring):
    """A grammar whose frames take much more than their payload."""

    name = "roomy"

    def overhead_bytes(self, max_frame_bytes: int) -> int:
        """Return as much as the pool of `SMALL` has."""
        return SMALL.pool_connection_bytes


@on_epoll
async def test_frames_that_do_not_fit_the_pool_of_a_shared_bridge_are_refused() -> None:
    """When the server is made, not with each connection."""
    roomier = SMALL.replace(pool_connection_bytes=4 * SMALL.pool_connection_bytes)
    with pytest.raises(SettingsError, match="roomy frames of max_frame_bytes"):
        Server(framing=Roomy(), limits=roomier, bridge=Bridge(SMALL))
    Server(framing=Roomy(), limits=roomier)


class Asked:
    """A factory that notes what is looked for in it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self) -> Swapcase:
        """Make a processor."""
        return Swapcase()

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        raise AttributeError(name)


@on_all
async def test_connections_do_not_look_again_at_what_the_server_has_looked_at() -> None:
    """At what the processor declares of a connection's beginning."""
    factory = Asked()
    looks = {"speaks_first"}
    async with await asyncrev.serve("127.0.0.1", 0, processor=factory, limits=SMALL) as server:
        assert set(factory.asked) >= looks
        factory.asked.clear()
        for _ in range(2):
            assert await in_thread(ask, server, b"abc") == b"ABC"
    assert set(factory.asked) & looks == set()


@on_all
@pytest.mark.parametrize("iterations", [0, 1, 2, 3])
async def test_close_ends_while_a_connection_arrives(iterations: int) -> None:
    """However far it is; on uvloop it waited for ever for one that was cancelled on its way."""
    async with await asyncrev.serve("127.0.0.1", 0, limits=SMALL) as server:
        with connect(server):
            async with asyncio.timeout(DEADLINE_S):
                while not server.connections.arriving:  # noqa: ASYNC110 (iterations count)
                    await asyncio.sleep(0)
                for _ in range(iterations):
                    await asyncio.sleep(0)
                await server.close()
            assert (len(server.connections), server.connections.arriving) == (0, 0)


def test_server_with_an_unknown_framing_is_refused() -> None:
    """When it is made, by a message that has those that there are."""
    with pytest.raises(SettingsError) as caught:
        Server(framing="xml", limits=SMALL)
    assert str(caught.value) == "framing is 'xml'; it must be one of raw, line, len32, len64"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"limits": {"slots": 4}},
            "limits is {'slots': 4}; it must be an asyncrev.Limits, or None",
        ),
        ({"bridge": "b"}, "bridge is 'b'; it must be an asyncrev.Bridge, or None"),
        ({"ssl": True}, "tls is True; it must be an ssl.SSLContext"),
        ({"ssl": False}, "tls is False; it must be an ssl.SSLContext"),
    ],
)
def test_server_of_something_else_is_refused(given: dict[str, Any], message: str) -> None:
    """When it is made, not at the first connection."""
    with pytest.raises(SettingsError) as caught:
        Server(**given)
    assert str(caught.value).startswith(message)


@on_epoll
@pytest.mark.parametrize(
    ("where", "message"),
    [
        (("127.0.0.1", "9090"), "port is '9090'; it must be a number from 0 to 65535"),
        (("127.0.0.1", None), "port is None; it must be a number from 0 to 65535"),
        (("127.0.0.1", True), "port is True; it must be a number from 0 to 65535"),
        ((["::1", "127.0.0.1"], 0), "host is ['::1', '127.0.0.1']; it must be one name or address"),
        ((b"127.0.0.1", 0), "host is b'127.0.0.1'; it must be one name or address"),
    ],
)
async def test_address_of_a_wrong_type_is_refused(where: tuple[Any, Any], message: str) -> None:
    """The server is closed then, as after any start that fails."""
    server = Server(limits=SMALL)
    with pytest.raises(SettingsError) as caught:
        await server.start(*where)
    assert str(caught.value).startswith(message)
    assert server.state is ServerState.CLOSED


# -- ends ----------------------------------------------------------------------------------------


@on_epoll
async def test_drain_of_a_server_that_never_started_closes_it() -> None:
    """There is nothing to answer."""
    server = Server(limits=SMALL)
    assert await server.drain()
    assert server.state is ServerState.CLOSED


@on_all
async def test_drain_beyond_its_deadline_aborts_what_is_left() -> None:
    """A peer that does not close after the last reply is waited for, but no longer than that."""
    server = await asyncrev.serve("127.0.0.1", 0, limits=SMALL.replace(linger_timeout_s=1000.0))
    with connect(server):
        await until(lambda: server.statistics().connections, "it is connected")
        assert not await server.drain(0.01)
        assert server.statistics().aborted == {"drain deadline": 1}


@on_all
async def test_close_twice_at_once_and_again_is_once() -> None:
    """Open connections are aborted and counted; serve_forever returns."""
    server = await asyncrev.serve("127.0.0.1", 0, limits=SMALL)
    forever = asyncio.create_task(server.serve_forever())
    with connect(server) as client:
        await until(lambda: server.statistics().connections, "it is connected")
        await asyncio.gather(server.close(), server.close())
        await server.close()
        await forever
        assert server.statistics().aborted == {"server closed": 1}
        try:
            assert await in_thread(receive_all, client) == b""
        except ConnectionResetError:
            pass


@on_all
async def test_worker_that_dies_closes_the_server_and_serve_forever_raises(
    loop_errors: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cause is chained; connections are closed; it is reported once."""
    server = await asyncrev.serve("127.0.0.1", 0, limits=SMALL)
    forever = asyncio.create_task(server.serve_forever())
    broken = ZeroDivisionError("outside any processor")

    def work(*args: Any) -> None:
        raise broken

    with monkeypatch.context() as patch, connect(server) as client:
        patch.setattr("asyncrev.work.raw_work.RawWork.do", work)
        client.sendall(b"x")
        with pytest.raises(WorkerDied) as caught:
            await forever
        assert caught.value.__cause__ is broken
        assert await in_thread(receive_all, client) == b""
    assert server.state is ServerState.CLOSED
    assert [context["exception"] for context in loop_errors] == [caught.value]
    loop_errors.clear()


# -- the first input -----------------------------------------------------------------------------


@on_all
@pytest.mark.parametrize("over", ["tcp", "tls"])
async def test_first_input_of_each_connection_is_seen_until_it_is_enough(
    over: str, request: pytest.FixtureRequest
) -> None:
    """Later input is not, and is answered as ever; the transport calls no detour for it."""
    contexts = request.getfixturevalue("contexts") if over == "tls" else (None, None)
    seen: list[bytes] = []

    def look(first: memoryview) -> bool:
        seen.append(bytes(first))
        return len(seen) < 2

    def talk(server: Server, parts: list[bytes]) -> None:
        with contextlib.ExitStack() as closing:
            client = closing.enter_context(connect(server))
            if contexts[1] is not None:
                client = closing.enter_context(
                    contexts[1].wrap_socket(client, server_hostname="localhost")
                )
            for part in parts:
                client.sendall(part)
                assert receive_exactly(client, len(part)) == part[::-1]

    server = Server(limits=SMALL, ssl=contexts[0])
    server.watch_first_input(look)
    await server.start("127.0.0.1", 0)
    async with server:
        await in_thread(talk, server, [b"one", b"two", b"three"])
        await in_thread(talk, server, [b"four", b"five"])
        await in_thread(talk, server, [b"six"])
        if over == "tls":
            assert [first[0] for first in seen] == [22, 22]  # handshake records
        else:
            assert seen == [b"one", b"four"]


@on_all
async def test_transport_has_the_connection_itself_after_its_first_input() -> None:
    """Later input makes no detour for what was looked at."""
    server = Server(limits=SMALL)
    server.watch_first_input(lambda first: True)
    await server.start("127.0.0.1", 0)
    async with server:
        with connect(server) as client:
            await until(lambda: server.statistics().connections, "it is connected")
            (connection,) = server.connections
            assert connection._transport.get_protocol() is not connection
            client.sendall(b"abc")
            assert await in_thread(receive_exactly, client, 3) == b"cba"
            assert connection._transport.get_protocol() is connection


@on_all
@pytest.mark.parametrize("end", ["end of input", "reset", "deadline", "drain", "close"])
async def test_watched_connection_that_sends_nothing_ends_like_any_other(end: str) -> None:
    """Whoever ends it: nothing is seen, and nothing is left."""
    seen: list[bytes] = []
    limits = SMALL.replace(first_byte_timeout_s=0.05) if end == "deadline" else SMALL
    server = Server(limits=limits)

    def look(first: memoryview) -> bool:
        seen.append(bytes(first))
        return True

    server.watch_first_input(look)
    await server.start("127.0.0.1", 0)
    async with server:
        with connect(server) as client:
            await until(lambda: server.statistics().connections_high, "it was connected")
            if end == "end of input":
                client.shutdown(socket.SHUT_WR)
            elif end == "reset":
                reset(client)
            elif end == "drain":
                draining = asyncio.create_task(server.drain())
                assert await in_thread(receive_all, client) == b""
                client.close()
                assert await draining
            elif end == "close":
                await server.close()
            else:
                assert await in_thread(receive_all, client) == b""
                client.close()
            await until(lambda: not server.statistics().connections, "it has gone")
            expected = {"deadline": {"first byte deadline": 1}, "close": {"server closed": 1}}
            assert server.statistics().aborted == expected.get(end, {})
            await until(lambda: not server.bridges[0].open_lanes, "its lane has gone, too")
    assert not seen


# -- steps of the end that fail --------------------------------------------------------------------


def refuse(*_: Any, **__: Any) -> None:
    raise PermissionError(13, "Permission denied")


async def assert_all_is_closed(server: Server, client: socket.socket) -> None:
    """Its connection has ended, its worker, too, and it says so."""
    try:
        assert await in_thread(receive_all, client) == b""
    except ConnectionResetError:
        pass
    assert not server.bridges[0].is_running
    assert not server.addresses
    assert server.state is ServerState.CLOSED
    await server.serve_forever()
    await server.close()


@on_all
@pytest.mark.parametrize("drains", [False, True])
async def test_path_that_may_not_be_removed_is_logged_and_the_rest_is_closed(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    drains: bool,
) -> None:
    """As after privileges were dropped; the next server at that path takes it over."""
    path = str(tmp_path / "socket")
    server = await asyncrev.serve(uds=path, limits=SMALL)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        await until(lambda: server.statistics().connections, "it is connected")
        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", refuse)
            await (server.drain(0.01) if drains else server.close())
        await assert_all_is_closed(server, client)
    (line,) = [record.getMessage() for record in caplog.records if "remove" in record.getMessage()]
    assert line == (
        f"cannot remove the socket {path!r}, which the next server at this path does: "
        "Permission denied"
    )
    async with await asyncrev.serve(uds=path, limits=SMALL):
        pass
    assert not os.listdir(tmp_path)


@on_all
@pytest.mark.parametrize("step", ["listener", "connection", "drain"])
async def test_step_of_the_end_that_raises_is_logged_and_skips_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, step: str
) -> None:
    """Whichever it is: two listeners and a connection, of which the first step fails."""
    server = await asyncrev.serve("127.0.0.1", 0, limits=SMALL)
    with connect(server) as client:
        await until(lambda: server.statistics().connections, "it is connected")
        (connection,) = server.connections
        if step == "listener":
            monkeypatch.setattr("asyncrev.server.listener.Listener.close", refuse)
            await server.close()
        elif step == "drain":
            monkeypatch.setattr(type(connection), "drain", refuse)
            assert await server.drain(5)
            assert server.statistics().aborted == {"drain failed": 1}
        else:
            with monkeypatch.context() as patch:
                patch.setattr(type(connection), "abort", refuse)
                await server.close()
            connection._transport.abort()
        await assert_all_is_closed(server, client)
    assert "PermissionError(13, 'Permission denied')" in caplog.text


@on_all
async def test_listening_socket_that_its_owner_closed_is_no_obstacle_to_close() -> None:
    """`sock=` of a caller that still had it: the loop lets go of its descriptor all the same."""
    sock = socket.create_server(("127.0.0.1", 0))
    server = await asyncrev.serve(sock=sock, limits=SMALL)
    with socket.create_connection(sock.getsockname()) as client:
        await until(lambda: server.statistics().connections, "it is connected")
        sock.close()
        await server.close()
        await assert_all_is_closed(server, client)


@on_epoll
async def test_start_that_fails_at_its_last_step_leaves_no_thread(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    """As when the loop can watch no more descriptors (epoll_ctl(2), ENOSPC)."""
    monkeypatch.setattr("asyncrev.server.listener.Listener.resume", refuse)
    server = Server(limits=SMALL)
    with pytest.raises(PermissionError):
        await server.start(uds=str(tmp_path / "socket"))
    assert not server.bridges[0].is_running
    assert not os.listdir(tmp_path)
    assert server.state is ServerState.CLOSED
    await server.serve_forever()


@on_epoll
async def test_start_on_a_socket_and_a_path_at_once_is_refused(tmp_path: pathlib.Path) -> None:
    """One of them would be ignored."""
    with (
        socket.create_server(("127.0.0.1", 0)) as sock,
        pytest.raises(SettingsError, match="leave out one of the two"),
    ):
        await asyncrev.serve(uds=str(tmp_path / "socket"), sock=sock)


@on_epoll
async def test_serve_gives_the_mode_of_the_unix_socket(tmp_path: pathlib.Path) -> None:
    """`uds_mode=`, of the file."""
    path = tmp_path / "socket"
    async with await asyncrev.serve(uds=str(path), uds_mode=0o666, limits=SMALL):
        assert path.stat().st_mode & 0o777 == 0o666
    async with await asyncrev.serve(uds=str(path), limits=SMALL):
        assert path.stat().st_mode & 0o777 == 0o600


@on_epoll
async def test_connection_that_gets_through_after_the_close_is_aborted() -> None:
    """Its handshake ended just then."""
    server = await asyncrev.serve("127.0.0.1", 0, limits=SMALL)
    with connect(server):
        await until(lambda: server.statistics().connections, "it is connected")
        (connection,) = server.connections
        await server.close()
        server.connections.add(connection)
        assert connection.abort_reason == "server closed"
        server.connections.remove(connection)
        server.connections.remove(connection)
        assert server.statistics().aborted == {"server closed": 2}


# -- who is told of closed connections -----------------------------------------------------------


class Observed:
    """What a server tells of its closed connections."""

    def __init__(self, server: Server) -> None:
        self.closed: list[ClosedConnection] = []
        server.on_connection_closed(self.closed.append)

    async def one(self) -> ClosedConnection:
        """Return the only connection that has ended, once it has."""
        await until(lambda: self.closed, "a connection has ended")
        (closed,) = self.closed
        return closed


def end_by_close(client: socket.socket) -> None:
    client.close()


def end_by_half_close(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)
    receive_all(client)


def end_by_frame(client: socket.socket) -> None:
    client.sendall(b"\xff\xff\xff\xff")
    receive_all(client)


def end_within_a_frame(client: socket.socket) -> None:
    client.sendall(b"\0\0\0\5a")
    client.shutdown(socket.SHUT_WR)
    receive_all(client)


@pytest.mark.parametrize(
    ("end", "word"),
    [
        (end_by_close, "closed by peer"),
        (end_by_half_close, "closed by peer"),
        (reset, "reset by peer"),
        (end_by_frame, "frame too large"),
        (end_within_a_frame, "incomplete frame"),
    ],
)
@on_all
async def test_closed_connection_is_told_once(end: Any, word: str) -> None:
    """With who it was, its bytes, and why it ended."""
    async with await asyncrev.serve("127.0.0.1", 0, framing="len32", limits=SMALL) as server:
        observed = Observed(server)
        with connect(server) as client:
            name = client.getsockname()
            await in_thread(client.sendall, b"\0\0\0\3abc")
            assert await in_thread(receive_exactly, client, 7) == b"\0\0\0\3cba"
            await in_thread(end, client)
            closed = await observed.one()
    assert closed.end == word
    assert closed.info is not None
    assert (closed.info.peer_address, closed.info.tls) == (name, None)
    assert closed.replied_bytes == 7
    assert closed.received_bytes == 7 + {"frame too large": 4, "incomplete frame": 5}.get(word, 0)
    assert 0 <= closed.duration_s < 60  # uvloop's clock has milliseconds
    assert len(observed.closed) == 1
    assert not server.connections._ending  # what a server that never ends would collect


@on_all
async def test_ends_of_this_side_have_their_reason() -> None:
    """A drain's, a deadline's, and that of a close."""
    short = dataclasses.replace(SMALL, first_byte_timeout_s=0.1)
    async with await asyncrev.serve("127.0.0.1", 0, limits=short) as server:
        observed = Observed(server)
        with connect(server):
            late = await observed.one()
    assert late.end == "first byte deadline"
    assert late.duration_s >= 0.1
    for word in ("drained", "server closed"):
        async with await asyncrev.serve("127.0.0.1", 0, limits=SMALL) as server:
            observed = Observed(server)
            with connect(server) as client:
                await in_thread(client.sendall, b"abc")
                assert await in_thread(receive_exactly, client, 3) == b"cba"
                if word == "drained":
                    draining = asyncio.create_task(server.drain())
                    assert await in_thread(receive_all, client) == b""
                    client.close()
                    assert await draining
                else:
                    await server.close()
        assert (await observed.one()).end == word


@on_all
async def test_closed_connection_over_tls_is_told_with_what_was_negotiated(
    contexts: tuple[Any, Any],
) -> None:
    """Its close_notify is an end by the peer; a handshake that failed has no TLS."""
    async with await asyncrev.serve("127.0.0.1", 0, ssl=contexts[0], limits=SMALL) as server:
        observed = Observed(server)

        def talk() -> None:
            with (
                connect(server) as plain,
                contexts[1].wrap_socket(plain, server_hostname="localhost") as client,
            ):
                client.sendall(b"abc")
                assert client.recv(3) == b"cba"
                client.unwrap()

        await in_thread(talk)
        closed = await observed.one()
        assert closed.end == "closed by peer"
        assert closed.info is not None
        assert closed.info.tls is not None
        assert closed.info.tls.server_name == "localhost"
        observed.closed.clear()
        with connect(server) as client:
            await in_thread(client.sendall, b"GET / HTTP/1.0\r\n\r\n")
            failed = await observed.one()
    assert failed.end == "TLS handshake failed"
    assert failed.info is not None
    assert failed.info.tls is None


@on_epoll
async def test_observer_that_fails_costs_nobody_anything(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The next one is told all the same, and the connection is counted."""

    def fail(_: object) -> None:
        raise ValueError("deliberate")

    async with await asyncrev.serve("127.0.0.1", 0, limits=SMALL) as server:
        server.on_connection_closed(fail)
        observed = Observed(server)
        assert await in_thread(ask, server, b"abc") == b"cba"
        await observed.one()
        await until(lambda: not len(server.connections), "it is removed")
        assert server.statistics().received_bytes == 3
    assert "could not tell of a closed connection: ValueError('deliberate')" in caplog.text


def test_observer_that_cannot_be_called_is_refused() -> None:
    """Now, rather than at the first end."""
    with pytest.raises(SettingsError, match="callback is 3; it must be callable"):
        Server(limits=SMALL).on_connection_closed(3)  # type: ignore[arg-type]
