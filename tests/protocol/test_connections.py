"""protocol: one bridge behind every connection and framing, on both sides, at the same time."""

import array
import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import asyncrev
from asyncrev import Bridge, BridgeProtocol, Reverse
from asyncrev.server.listen_sockets import inherited
from asyncrev.states import ConnectionState
from tests.framed import Inverting, framed
from tests.protocol.served import (
    SMALL,
    Served,
    Swapcase,
    connect_to,
    every_kind,
    gated_swapcase,
    in_thread,
    letters,
    listening,
    serve,
    served,
    skip_without,
    tcp_only,
    tls_contexts,
)
from tests.support import DEADLINE_S, ask, is_paused, receive_all, until

on_all = pytest.mark.asyncio


# -- every kind ----------------------------------------------------------------------------------


@on_all
@every_kind
async def test_more_than_the_ring_holds_is_answered_over_every_kind(kind: str) -> None:
    """Several times over, so that reading pauses and goes on."""

    def talk(client: socket.socket) -> None:
        with client:
            for seed in range(4):
                data = letters(15_000, seed)
                assert ask(client, data) == data.swapcase()

    async with served(kind=kind) as server:
        await asyncio.gather(*(in_thread(talk, server.connect()) for _ in range(2)))
        await until(
            lambda: all(made.state is ConnectionState.LOST for made in server.connections),
            "both are lost",
        )
        if kind != "tls":
            assert [made.received_bytes for made in server.connections] == [60_000, 60_000]
        assert [made.abort_reason for made in server.connections] == [None, None]


@on_all
@every_kind
@pytest.mark.parametrize("framing", ["line", "len32"])
async def test_frames_are_answered_over_every_kind(kind: str, framing: str) -> None:
    """Empty ones, ones in a chunk with others, ones that span chunks, and an early leave."""
    payloads = [b"", letters(10), b"", letters(9000, 1), letters(3000, 2), b""]
    data = b"".join(framed(framing, payload) for payload in payloads)
    answer = b"".join(framed(framing, Inverting.answer(payload)) for payload in payloads)

    def talk(client: socket.socket) -> bytes:
        with client:
            reply = ask(client, data)
            client.sendall(data[:5])  # and leaves within a frame, or behind it
            return reply

    async with served(Inverting, kind=kind, framing=framing) as server:
        assert await in_thread(talk, server.connect()) == answer
        await until(lambda: server.connections[0].state is ConnectionState.LOST, "it is lost")
        await until(lambda: server.bridge.statistics().lanes == 0, "its lane is gone")
        assert server.bridge.statistics().pool.reserved_bytes == 0


class Counting(Swapcase):
    """Counts the ends of input that it was told."""

    ends = 0

    def eof(self) -> bytes:
        """Count, and say a last word."""
        type(self).ends += 1
        return b"bye"


@on_all
@every_kind
@pytest.mark.parametrize("framing", ["raw", "line", "len32"])
async def test_peer_that_ends_at_once_is_told_nothing_wrong(kind: str, framing: str) -> None:
    """No input at all: the processor hears of the end, once; half-closed, its word comes.

    Over the loop's TLS the connection has gone by then, so it may not hear of it.
    """
    Counting.ends = 0

    def leave(client: socket.socket) -> bytes:
        with client:
            if kind == "loop-tls":
                return b""
            client.shutdown(socket.SHUT_WR)
            return receive_all(client)

    async with served(Counting, kind=kind, framing=framing) as server:
        client = server.connect()
        await until(
            lambda: server.connections and server.connections[0].state is ConnectionState.OPEN,
            "open",
        )
        last_word = {"raw": b"bye", "line": b"bye\n", "len32": framed("len32", b"bye")}[framing]
        assert await in_thread(leave, client) == (b"" if kind == "loop-tls" else last_word)
        await until(lambda: server.connections[0].state is ConnectionState.LOST, "it is lost")
        await until(lambda: server.bridge.statistics().lanes == 0, "its lane is gone")
        assert Counting.ends in ((0, 1) if kind == "loop-tls" else (1,))
        assert kind == "tls" or server.connections[0].received_bytes == 0
        assert server.connections[0].abort_reason is None


@on_all
@every_kind
async def test_server_drains_over_every_kind(kind: str) -> None:
    """Who has got replies gets the end; the drain says that it was in time."""
    server = await serve(Swapcase, limits=SMALL, kind=kind)
    with connect_to(server.addresses[0], kind=kind) as client:
        assert await in_thread(ask, client, letters(9000)) == letters(9000).swapcase()
        draining = asyncio.create_task(server.drain())
        assert await in_thread(receive_all, client) == b""
    assert await draining
    assert server.statistics().aborted == {}


# -- aiofastnet ----------------------------------------------------------------------------------


on_aiofastnet = pytest.mark.parametrize("base", ["asyncio", "uvloop"])


def run_on_aiofastnet(base: str, main: Coroutine[Any, Any, None]) -> None:
    """Run `main` on a loop that `base` has made and aiofastnet has changed."""
    try:
        aiofastnet = pytest.importorskip("aiofastnet")
        make_loop = asyncio.SelectorEventLoop
        if base == "uvloop":
            make_loop = pytest.importorskip("uvloop").new_event_loop
    except BaseException:
        main.close()
        raise
    with asyncio.Runner(loop_factory=aiofastnet.loop_factory(make_loop)) as runner:
        runner.run(main)


@tcp_only
@on_aiofastnet
@pytest.mark.parametrize("ends", [False, True], ids=["waits", "ends"])
def test_input_that_aiofastnet_holds_during_a_pause_is_not_lost(base: str, ends: bool) -> None:
    """It is in its TLS layer, while the socket shows nothing more, or the end."""
    gate, gated = gated_swapcase()

    def talk(plain: socket.socket) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = tls_contexts()[1].wrap_bio(incoming, outgoing, server_hostname="localhost")

        def complete(step: Callable[[], Any]) -> Any:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    plain.sendall(outgoing.read())
                    incoming.write(plain.recv(65536))

        with plain:
            complete(tls.do_handshake)
            tls.write(letters(15_000))
            if ends:
                with contextlib.suppress(ssl.SSLWantReadError):
                    tls.unwrap()
            plain.sendall(outgoing.read())
            if ends:
                plain.shutdown(socket.SHUT_WR)
                receive_all(plain)
            else:
                answer = b""
                while len(answer) < 15_000:
                    answer += complete(lambda: tls.read(15_000))
                assert answer == letters(15_000).swapcase()

    async def main() -> None:
        async with served(gated, kind="loop-tls") as server:
            talking = asyncio.create_task(in_thread(talk, connect_to(server.address)))
            await until(
                lambda: server.connections and is_paused(server.connections[0]), "it has paused"
            )
            assert type(server.connections[0]._transport).__module__.startswith("aiofastnet")
            gate.set()
            await talking
            await until(lambda: server.connections[0].state is ConnectionState.LOST, "it is lost")
            assert server.connections[0].received_bytes == 15_000

    run_on_aiofastnet(base, main())


@tcp_only
@on_aiofastnet
def test_drained_connection_over_aiofastnet_ends_before_its_shutdown_times_out(base: str) -> None:
    """Reading was paused by then, and it must read the peer's answer to its goodbye."""

    async def main() -> None:
        async with served(kind="loop-tls") as server:
            with server.connect() as client:
                assert await in_thread(ask, client, b"abc") == b"ABC"
                server.connections[0].drain()
                assert await in_thread(receive_all, client) == b""
                await until(
                    lambda: server.connections[0].state is ConnectionState.LOST, "it is lost"
                )

    run_on_aiofastnet(base, main())


# -- descriptors that come from elsewhere --------------------------------------------------------


@on_all
@tcp_only
@pytest.mark.parametrize("family", ["tcp", "unix"])
async def test_listening_socket_of_another_process_is_served(family: str) -> None:
    """It comes as a descriptor, over a socket; who sent it keeps and closes its own."""
    here, there = socket.socketpair()
    with here, there, listening(family) as theirs:
        address = theirs.getsockname()
        there.sendmsg(
            [b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))]
        )
        _, descriptors, _, _ = socket.recv_fds(here, 1, 1)
    sock = inherited(descriptors[0])
    async with await asyncrev.serve(sock=sock, processor=Swapcase, limits=SMALL) as server:
        with connect_to(address) as client:
            assert await in_thread(ask, client, letters(5000)) == letters(5000).swapcase()
        assert server.statistics().accepted == 1


@on_all
@tcp_only
async def test_create_server_on_a_duplicate_is_served() -> None:
    """`socket.fromfd`: the loop closes its own, the other goes on listening."""
    loop = asyncio.get_running_loop()
    with listening() as mine:
        async with Bridge(SMALL) as bridge:
            copy = socket.fromfd(mine.fileno(), mine.family, mine.type)
            server = await loop.create_server(lambda: BridgeProtocol(bridge, Swapcase), sock=copy)
            with connect_to(mine.getsockname()) as client:
                assert await in_thread(ask, client, b"abc") == b"ABC"
            server.close()
            await until(lambda: bridge.statistics().lanes == 0, "its lane is gone")
            await server.wait_closed()
        assert mine.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        assert copy.fileno() == -1


@on_all
@tcp_only
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_accepted_socket_of_elsewhere_is_taken(secure: bool) -> None:
    """`connect_accepted_socket`, with a descriptor that was duplicated."""
    skip_without("tls" if secure else "tcp")
    loop = asyncio.get_running_loop()
    with listening() as sock:
        client = connect_to(sock.getsockname(), kind="tls" if secure else "tcp")
        accepted = await until(lambda: _accept(sock), "it is accepted")
    with client, accepted:
        copy = socket.socket(fileno=os.dup(accepted.fileno()))
        copy.setblocking(False)
        accepted.close()
        async with Bridge(SMALL) as bridge:
            connection = BridgeProtocol(bridge, Swapcase)  # uvloop returns another one over TLS
            await loop.connect_accepted_socket(
                lambda: connection,
                copy,
                ssl=tls_contexts()[0] if secure else None,
            )
            assert await in_thread(ask, client, letters(9000)) == letters(9000).swapcase()
            client.close()
            await until(lambda: connection.state is ConnectionState.LOST, "it is lost")


def _accept(sock: socket.socket) -> socket.socket | None:
    try:
        accepted, _ = sock.accept()
    except BlockingIOError:
        return None
    accepted.settimeout(DEADLINE_S)
    return accepted


# -- many on one bridge, and many bridges --------------------------------------------------------


@on_all
@tcp_only
async def test_servers_of_all_connections_and_framings_share_a_bridge() -> None:
    """At once, with processors of their own: every client gets its own replies."""
    skip_without("tls")

    def talk(client: socket.socket, data: bytes, answer: bytes) -> int:
        with client:
            for _ in range(5):
                assert ask(client, data) == answer
            return 5

    plans: list[tuple[str, str, Any, Any]] = [
        ("tcp", "raw", Swapcase, bytes.swapcase),
        ("unix", "line", Inverting, Inverting.answer),
        ("tls", "len32", bytes.upper, bytes.upper),
        ("unix", "len64", Reverse, lambda payload: payload[::-1]),
        ("loop-tls", "line", Swapcase, bytes.swapcase),
    ]
    async with Bridge(SMALL) as bridge, contextlib.AsyncExitStack() as stack:
        talking = []
        for seed, (connection, framing, processor, answer) in enumerate(plans):
            server: Served = await stack.enter_async_context(
                served(processor, kind=connection, framing=framing, bridge=bridge)
            )
            payloads = [letters(300, seed), letters(2500, seed)]
            wrap = _plain if framing == "raw" else framed
            data = b"".join(wrap(framing, payload) for payload in payloads)
            replies = b"".join(wrap(framing, answer(payload)) for payload in payloads)
            talking += [in_thread(talk, server.connect(), data, replies) for _ in range(2)]
        assert await asyncio.gather(*talking) == [5] * 10
        await until(lambda: bridge.statistics().lanes == 0, "all lanes are gone")
        assert bridge.statistics().processor_errors == 0


def _plain(framing: str, payload: bytes) -> bytes:
    return payload


@on_all
@tcp_only
async def test_several_bridges_in_one_loop_do_not_meet() -> None:
    """The end of one is not the end of another."""
    async with served(Swapcase) as first, served(bytes.upper) as second:
        with first.connect() as one, second.connect() as other:
            assert await in_thread(ask, one, b"aBc") == b"AbC"
            assert await in_thread(ask, other, b"aBc") == b"ABC"
            await first.bridge.close()
            assert await in_thread(receive_all, one) == b""
            assert await in_thread(ask, other, letters(9000)) == letters(9000).upper()
        assert first.bridge.statistics().published == 1
