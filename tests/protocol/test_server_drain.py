"""server: a drain answers every byte that had arrived, says whether it was in time, ends once."""

import asyncio
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import asyncrev
from asyncrev import EpollEventLoop, Limits
from asyncrev.states import ServerState
from tests.protocol.served import SMALL, Swapcase, gated_swapcase, in_thread, letters, tcp_only
from tests.support import DEADLINE_S, receive_all, until, wait_arrived

pytestmark = tcp_only  # of the connections, `test_drain` and `test_links` have the drain
on_all = pytest.mark.asyncio


def connect(port: int) -> socket.socket:
    """Return a blocking client with a deadline."""
    client = socket.create_connection(("127.0.0.1", port))
    client.settimeout(DEADLINE_S)
    return client


@on_all
async def test_drain_answers_everything_that_had_arrived() -> None:
    """Clients that have sent a lot, and read only afterwards, get it all and then the end."""
    server = await asyncrev.serve("127.0.0.1", 0, processor=Swapcase, limits=SMALL)
    clients = [connect(server.port) for _ in range(4)]
    data = [letters(60_000, seed) for seed in range(4)]
    for client, sent in zip(clients, data, strict=True):
        await in_thread(client.sendall, sent)
        await in_thread(wait_arrived, client)
    draining = asyncio.create_task(server.drain())
    for client, sent in zip(clients, data, strict=True):
        assert await in_thread(receive_all, client) == sent.swapcase()
        client.close()
    assert await draining
    assert server.state is ServerState.CLOSED
    assert server.statistics().aborted == {}


@on_all
async def test_drain_accepts_what_the_kernel_has_queued() -> None:
    """Also above the limit of connections; who dials later is refused."""
    limits = SMALL.replace(max_connections=1)
    server = await asyncrev.serve("127.0.0.1", 0, processor=Swapcase, limits=limits)
    clients = [connect(server.port) for _ in range(6)]
    for client in clients:
        client.sendall(b"abc")
    port = server.port
    await until(lambda: server.statistics().connections == 1, "one is in")
    draining = asyncio.create_task(server.drain())
    for client in clients:
        assert await in_thread(receive_all, client) == b"ABC"
        client.close()
    assert await draining
    with pytest.raises(ConnectionRefusedError):
        connect(port)


@on_all
async def test_drain_past_its_deadline_aborts_and_says_so() -> None:
    """A worker that is stuck until then; drains that wait meanwhile say the same."""
    gate, gated = gated_swapcase()
    server = await asyncrev.serve("127.0.0.1", 0, processor=gated, limits=SMALL)
    with connect(server.port) as client:
        client.sendall(b"abc")
        await until(lambda: server.statistics().received_bytes, "it came")
        asyncio.get_running_loop().call_later(0.05, gate.set)
        first, second = await asyncio.gather(server.drain(0.01), server.drain())
    assert (first, second) == (False, False)
    assert not await server.drain()
    assert server.statistics().aborted == {"drain deadline": 1}


@on_all
async def test_close_during_a_drain_ends_both() -> None:
    """What is open then is aborted, and the drain says that it was not done."""
    gate, gated = gated_swapcase()
    server = await asyncrev.serve("127.0.0.1", 0, processor=gated, limits=SMALL)
    with connect(server.port) as client:
        client.sendall(b"abc")
        await until(lambda: server.statistics().received_bytes, "it came")
        draining = asyncio.create_task(server.drain())
        await until(lambda: server.state is ServerState.DRAINING, "it drains")
        closing = asyncio.create_task(server.close())
        await until(lambda: server.state is ServerState.CLOSED, "it closes")
        gate.set()
        assert await asyncio.gather(draining, closing) == [False, None]
    assert server.statistics().aborted == {"server closed": 1}


@on_all
async def test_drain_of_a_server_that_never_started_closes_it() -> None:
    """It waited for ever once."""
    server = asyncrev.Server(limits=SMALL)
    assert await server.drain()
    assert server.state is ServerState.CLOSED


@on_all
async def test_drain_without_connections_is_done_at_once() -> None:
    """And draining again, closing again, changes nothing."""
    server = await asyncrev.serve("127.0.0.1", 0, limits=SMALL)
    assert await server.drain()
    assert await server.drain()
    await server.close()


messages = st.lists(st.binary(min_size=1, max_size=200), max_size=8)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(messages, min_size=1, max_size=4),
    st.integers(1, 4),
    st.sampled_from([1, 7, 64, 1024]),
    st.booleans(),
)
def test_any_chunking_of_several_clients_gives_the_bytes_of_the_oracle(
    clients: list[list[bytes]], slots: int, slot_bytes: int, drains: bool
) -> None:
    """Tiny rings, tiny slots, several clients at once, half-closed or drained."""
    limits = Limits(
        slots=slots,
        entries=slots * (1 + drains),
        slot_bytes=slot_bytes,
        in_flight_bytes=256,
        high_water_bytes=64,
        overflow_bytes=32,
    )

    async def client(port: int, parts: list[bytes], all_sent: asyncio.Barrier) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for part in parts:
            writer.write(part)
            await asyncio.sleep(0)
        await all_sent.wait()
        if not drains:
            writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    async def scenario() -> None:
        server = await asyncrev.serve("127.0.0.1", 0, processor=Swapcase, limits=limits)
        all_sent = asyncio.Barrier(len(clients) + 1)
        talking = [asyncio.create_task(client(server.port, parts, all_sent)) for parts in clients]
        await all_sent.wait()
        draining = asyncio.create_task(server.drain()) if drains else None
        answers = await asyncio.gather(*talking)
        assert answers == [b"".join(parts).swapcase() for parts in clients]
        assert await (draining or server.drain())
        total = sum(len(part) for parts in clients for part in parts)
        assert server.statistics().received_bytes == total
        assert server.statistics().replied_bytes == total

    with asyncio.Runner(loop_factory=EpollEventLoop) as runner:
        runner.run(scenario())


@settings(max_examples=15, deadline=None)
@given(messages)
def test_any_chunking_reversed_keeps_length_and_sum(parts: list[bytes]) -> None:
    """How the network splits it decides the order, not which bytes come back."""

    async def scenario() -> bytes:
        async with await asyncrev.serve("127.0.0.1", 0, limits=SMALL) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0)
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer

    with asyncio.Runner(loop_factory=EpollEventLoop) as runner:
        answer = runner.run(scenario())
    assert sorted(answer) == sorted(b"".join(parts))
