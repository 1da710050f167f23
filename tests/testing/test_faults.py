"""The proxy with faults, between real sockets. Times are lower bounds only: never too early."""

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from asyncrev.errors import SettingsError
from asyncrev.testing.faults import NOTHING, Address, FaultProxy, Toxics, fault_proxy_thread
from asyncrev.testing.history import History
from asyncrev.testing.toxics import CHUNK_BYTES
from tests.support import DEADLINE_S, end_of, pattern, reset, until
from tests.unit.test_docs import promised, run, snippets

DIRECTIONS = ["upstream", "downstream"]
DELAY_S = 0.06
LEAST_S = DELAY_S / 2  # loops whose clock stands still within a turn may be early by that turn

both_ways = pytest.mark.parametrize("direction", DIRECTIONS)


class Linked:
    """A client and a server socket with a proxy between them; all coroutines have a deadline."""

    def __init__(self, proxy: FaultProxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy = proxy
        self.socks = {"upstream": (client, server), "downstream": (server, client)}

    def ends(self, direction: str) -> tuple[socket.socket, socket.socket]:
        """Return who sends and who receives in that direction."""
        return self.socks[direction]

    def set(self, direction: str, toxics: Toxics) -> None:
        """Have the toxics work on that direction."""
        self.proxy.set(**{direction: toxics})


@contextlib.asynccontextmanager
async def linked(listen: Address = ("127.0.0.1", 0), **settings: Any) -> AsyncIterator[Linked]:
    """Make such a pair."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.setblocking(False)
        async with FaultProxy(listener.getsockname(), listen, **settings) as proxy:
            family = socket.AF_UNIX if isinstance(listen, str) else socket.AF_INET
            client = stack.enter_context(socket.socket(family))
            client.setblocking(False)
            await loop.sock_connect(client, proxy.address)
            async with asyncio.timeout(DEADLINE_S):
                server, _ = await loop.sock_accept(listener)
            stack.enter_context(server)
            yield Linked(proxy, client, server)


async def send(sock: socket.socket, data: bytes) -> None:
    """Send all of it."""
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.get_running_loop().sock_sendall(sock, data)


async def receive(sock: socket.socket, nbytes: int) -> bytes:
    """Return exactly `nbytes`, or what came before the end."""
    got = b""
    async with asyncio.timeout(DEADLINE_S):
        while len(got) < nbytes:
            part = await asyncio.get_running_loop().sock_recv(sock, nbytes - len(got))
            if not part:
                break
            got += part
    return got


async def end(sock: socket.socket) -> tuple[bytes, str]:
    """Return what comes before the end, and how it comes: "FIN" or "RST"."""
    got = b""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while part := await asyncio.get_running_loop().sock_recv(sock, 1 << 16):
                got += part
    except ConnectionResetError:
        return got, "RST"
    return got, "FIN"


# -- a plain proxy -----------------------------------------------------------------------------


@both_ways
@pytest.mark.asyncio
async def test_bytes_and_half_close_pass_through(direction: str) -> None:
    """The other direction goes on after one has ended."""
    data = pattern(300_000)
    async with linked() as link:
        sender, receiver = link.ends(direction)
        sending = asyncio.create_task(send(sender, data))
        assert await receive(receiver, len(data)) == data
        await sending
        sender.shutdown(socket.SHUT_WR)
        assert await end(receiver) == (b"", "FIN")
        await send(receiver, b"still here")
        assert await receive(sender, 10) == b"still here"
        receiver.shutdown(socket.SHUT_WR)
        assert await end(sender) == (b"", "FIN")
        assert link.proxy.passed_bytes[direction] == len(data)
        assert link.proxy.connections == 1
        assert not link.proxy.faults


@both_ways
@pytest.mark.parametrize("half_closed", [False, True])
@pytest.mark.asyncio
async def test_reset_passes_through_as_one(direction: str, half_closed: bool) -> None:
    """Also after that side has ended its input, when nobody reads from it."""
    async with linked() as link:
        sender, receiver = link.ends(direction)
        await send(sender, b"abc")
        assert await receive(receiver, 3) == b"abc"
        if half_closed:
            sender.shutdown(socket.SHUT_WR)
            assert await end(receiver) == (b"", "FIN")
            reset(sender)
            # A reset behind the end of stream is told to who writes.
            await until(lambda: writing_fails(receiver), "the reset has come")
        else:
            reset(sender)
            assert await end(receiver) == (b"", "RST")


def writing_fails(sock: socket.socket) -> bool:
    """Return whether the peer of `sock` has reset it; sends nothing."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


@both_ways
@pytest.mark.asyncio
async def test_side_that_does_not_take_stops_the_other(direction: str) -> None:
    """The proxy holds two chunks and no more; a reset of the side not read is seen all the same."""
    async with linked(socket_buffer_bytes=4096) as link:
        sender, receiver = link.ends(direction)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sent = 0
        async with asyncio.timeout(DEADLINE_S):
            with contextlib.suppress(TimeoutError):
                while True:
                    async with asyncio.timeout(0.15):  # nothing depends on it being stuck for good
                        await asyncio.get_running_loop().sock_sendall(sender, bytes(16_384))
                        sent += 16_384
        assert sent - link.proxy.passed_bytes[direction] <= 4 * CHUNK_BYTES
        reset(sender)
        await until(lambda: len(link.proxy._tasks) == 0, "the link has ended")
        await end(receiver)


@pytest.mark.asyncio
async def test_server_that_refuses_is_a_reset() -> None:
    """Nobody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    async with FaultProxy(address) as proxy:
        with socket.socket() as client:
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, proxy.address)
            assert await end(client) == (b"", "RST")


@pytest.mark.asyncio
async def test_unix_socket_in_front_of_tcp(tmp_path: Path) -> None:
    """Its path is gone afterwards."""
    path = str(tmp_path / "proxy.sock")
    async with linked(path) as link:
        sender, receiver = link.ends("upstream")
        await send(sender, b"abc")
        assert await receive(receiver, 3) == b"abc"
        sender.close()
        assert await end(receiver) == (b"", "FIN")
    assert names_in(tmp_path) == []


def names_in(folder: Path) -> list[str]:
    """Return what is in `folder`."""
    return [path.name for path in folder.iterdir()]


# -- each of the seven -------------------------------------------------------------------------


@both_ways
@pytest.mark.asyncio
async def test_latency_holds_bytes_and_their_end_in_their_order(direction: str) -> None:
    """No piece overtakes another, whatever the jitter."""
    async with linked() as link:
        link.set(direction, Toxics(latency_s=DELAY_S, jitter_s=DELAY_S / 4))
        sender, receiver = link.ends(direction)
        history = History(1)
        begun_s = time.monotonic()
        for _ in range(20):
            await send(sender, history.take(100))
            await asyncio.sleep(0)
        sender.shutdown(socket.SHUT_WR)
        history.received(await receive(receiver, 1))
        assert time.monotonic() - begun_s >= LEAST_S
        got, how = await end(receiver)
        history.received(got)
        history.finish(complete=True)
        assert how == "FIN"
        assert link.proxy.faults["latency"] >= 2


@both_ways
@pytest.mark.asyncio
async def test_bandwidth_takes_the_time_that_the_bytes_need(direction: str) -> None:
    """As many at once as go in a fiftieth of a second, and the rest later."""
    async with linked() as link:
        link.set(direction, Toxics(bandwidth_bytes_per_s=50_000))
        sender, receiver = link.ends(direction)
        begun_s = time.monotonic()
        await send(sender, pattern(5000))
        assert await receive(receiver, 5000) == pattern(5000)
        assert time.monotonic() - begun_s >= (5000 - 1000) / 50_000 / 2
        assert link.proxy.faults["bandwidth"] == 5


@both_ways
@pytest.mark.asyncio
async def test_slow_close_holds_the_end_only(direction: str) -> None:
    """The bytes before it pass, and the other direction stays open meanwhile."""
    async with linked() as link:
        link.set(direction, Toxics(slow_close_s=DELAY_S))
        sender, receiver = link.ends(direction)
        begun_s = time.monotonic()
        await send(sender, b"abc")
        sender.shutdown(socket.SHUT_WR)
        assert await receive(receiver, 3) == b"abc"
        assert await end(receiver) == (b"", "FIN")
        assert time.monotonic() - begun_s >= LEAST_S
        await send(receiver, b"def")
        assert await receive(sender, 3) == b"def"
        assert link.proxy.faults == {"slow_close": 1}


@both_ways
@pytest.mark.asyncio
async def test_timeout_stops_the_bytes_and_then_closes_both(direction: str) -> None:
    """In good order; the bytes are gone."""
    async with linked() as link:
        sender, receiver = link.ends(direction)
        begun_s = time.monotonic()
        link.set(direction, Toxics(timeout_s=DELAY_S))
        await send(sender, b"abc")
        assert await end(receiver) == (b"", "FIN")
        assert time.monotonic() - begun_s >= LEAST_S
        assert await end(sender) == (b"", "FIN")
        assert link.proxy.faults == {"timeout": 1}


@both_ways
@pytest.mark.asyncio
async def test_timeout_of_zero_never_closes_and_ends_when_it_is_taken_away(direction: str) -> None:
    """Nothing is lost by it; the other direction goes on."""
    async with linked(**{direction: Toxics(timeout_s=0)}) as link:
        sender, receiver = link.ends(direction)
        await send(sender, b"abc")
        await until(lambda: link.proxy.faults["timeout"] == 1, "it is held")
        await send(receiver, b"def")
        assert await receive(sender, 3) == b"def"
        assert link.proxy.passed_bytes[direction] == 0
        link.set(direction, NOTHING)
        assert await receive(receiver, 3) == b"abc"


@both_ways
@pytest.mark.asyncio
async def test_reset_peer_resets_both_after_its_time(direction: str) -> None:
    """Bytes pass until then."""
    async with linked() as link:
        sender, receiver = link.ends(direction)
        await send(sender, b"abc")
        assert await receive(receiver, 3) == b"abc"
        begun_s = time.monotonic()
        link.set(direction, Toxics(reset_peer_s=DELAY_S))
        assert await end(receiver) == (b"", "RST")
        assert time.monotonic() - begun_s >= LEAST_S
        assert await end(sender) == (b"", "RST")
        assert link.proxy.faults == {"reset_peer": 1}


@both_ways
@pytest.mark.asyncio
async def test_slicer_cuts_chunks_into_pieces(direction: str) -> None:
    """Every one is passed on by itself, and waits for the one before."""
    async with linked(seed=5) as link:
        link.set(direction, Toxics(slicer_bytes=10, slicer_variation_bytes=4, slicer_delay_s=0.002))
        sender, receiver = link.ends(direction)
        begun_s = time.monotonic()
        await send(sender, pattern(280))
        assert await receive(receiver, 280) == pattern(280)
        assert time.monotonic() - begun_s >= (280 / 14 - 1) * 0.002 / 2
        assert 280 // 14 <= link.proxy.faults["slicer"] <= 280 // 6


@both_ways
@pytest.mark.asyncio
async def test_limit_data_closes_both_after_so_many_bytes(direction: str) -> None:
    """Exactly so many arrive, and then the end in good order."""
    async with linked() as link:
        link.set(direction, Toxics(limit_bytes=1234))
        sender, receiver = link.ends(direction)
        await send(sender, pattern(1000))
        assert await receive(receiver, 1000) == pattern(1000)
        await send(receiver, pattern(5000))  # not counted
        assert await receive(sender, 5000) == pattern(5000)
        await send(sender, pattern(1000))
        assert await end(receiver) == (pattern(1000)[:234], "FIN")
        assert await end(sender) == (b"", "FIN")
        assert link.proxy.faults == {"limit_data": 1}


@both_ways
@pytest.mark.asyncio
async def test_limit_data_ends_in_good_order_although_input_is_unread(direction: str) -> None:
    """A plain close would reset, and take from the receiver what it has not read yet."""
    async with linked() as link:
        sender, receiver = link.ends(direction)
        other = DIRECTIONS[direction == "upstream"]
        link.proxy.set(**{other: Toxics(timeout_s=0), direction: Toxics(limit_bytes=5)})
        sending = asyncio.create_task(send(receiver, bytes(2_000_000)))
        await until(lambda: link.proxy.faults["timeout"] == 1, "it is held")
        await send(sender, b"abcdefg")
        await until(lambda: link.proxy.faults["limit_data"] == 1, "it is closed")
        await sending
        assert await end(receiver) == (b"abcde", "FIN")


@pytest.mark.asyncio
async def test_limit_that_has_been_passed_already_closes_at_the_next_byte() -> None:
    """None of the later bytes arrives."""
    async with linked() as link:
        sender, receiver = link.ends("upstream")
        await send(sender, b"abc")
        assert await receive(receiver, 3) == b"abc"
        link.set("upstream", Toxics(limit_bytes=2))
        await send(sender, b"def")
        assert await end(receiver) == (b"", "FIN")


# -- more --------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_all_that_delay_at_once_changing_lose_nothing() -> None:
    """Both directions, an echo between them, toxics drawn anew all the time."""
    draw = random.Random(1)
    async with linked(socket_buffer_bytes=4096) as link:
        client, server = link.ends("upstream")
        loop = asyncio.get_running_loop()
        history = History(3)

        async def echo() -> None:
            while data := await loop.sock_recv(server, 4096):
                await loop.sock_sendall(server, data)
            server.shutdown(socket.SHUT_WR)

        async def change() -> None:
            while True:
                for direction in DIRECTIONS:
                    link.set(direction, some_toxics(draw))
                await asyncio.sleep(0.01)

        async def upload() -> None:
            for _ in range(60):
                await send(client, history.take(draw.randint(1, 3000)))
            client.shutdown(socket.SHUT_WR)

        tasks = [asyncio.create_task(part()) for part in (echo, change, upload)]
        async with asyncio.timeout(DEADLINE_S):
            while part := await loop.sock_recv(client, 4096):
                history.received(part)
        history.finish(complete=True)
        tasks[1].cancel()
        await asyncio.gather(tasks[0], tasks[2])
        assert {"latency", "slicer", "bandwidth"} <= set(link.proxy.faults)


def some_toxics(draw: random.Random) -> Toxics:
    """Return what delays, of random strength."""
    return Toxics(
        latency_s=draw.choice([0, 0.001, 0.004]),
        bandwidth_bytes_per_s=draw.choice([1e6, 1e7, float("inf")]),
        slow_close_s=draw.choice([0, 0.01]),
        slicer_bytes=draw.choice([None, 7, 500]),
    )


@pytest.mark.asyncio
async def test_stop_resets_who_is_there() -> None:
    """Nobody waits for ever for a proxy that has gone."""
    async with linked() as link:
        sender, receiver = link.ends("upstream")
        await link.proxy.stop()
        assert await end(sender) == (b"", "RST")
        assert await end(receiver) == (b"", "RST")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"latency_s": -1}, "latency_s is -1; it must be at least 0"),
        ({"jitter_s": 2, "latency_s": 1}, "jitter_s is 2; it must be at most latency_s, 1"),
        ({"bandwidth_bytes_per_s": 0}, "bandwidth_bytes_per_s is 0; it must be above"),
        ({"slicer_bytes": 5, "slicer_variation_bytes": 5}, "must be less than slicer_bytes"),
        ({"timeout_s": float("nan")}, "timeout_s is nan"),
    ],
)
@pytest.mark.asyncio
async def test_bad_settings_are_refused(settings: dict[str, Any], told: str) -> None:
    """With the value and what is allowed."""
    with pytest.raises(SettingsError, match=told):
        Toxics(**settings)


@pytest.mark.asyncio
async def test_address_in_use_is_told() -> None:
    """And leaves nothing."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        proxy = FaultProxy(("127.0.0.1", 1), taken.getsockname())
        with pytest.raises(OSError, match="in use"):
            await proxy.start()


# -- in a thread -------------------------------------------------------------------------------


def test_thread_serves_blocking_clients_and_takes_changes() -> None:
    """`set` has taken effect when it returns."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        fault_proxy_thread(listener.getsockname()) as proxy,
        socket.create_connection(proxy.address, DEADLINE_S) as client,
    ):
        server, _ = listener.accept()
        with server:
            server.settimeout(DEADLINE_S)
            client.sendall(b"abc")
            assert server.recv(3) == b"abc"
            proxy.set(upstream=Toxics(limit_bytes=5))
            client.sendall(b"defg")
            assert server.recv(9) == b"de"
            assert end_of(server) == "FIN"


def test_thread_tells_that_it_could_not_listen() -> None:
    """To who started it."""
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match="in use"),
        fault_proxy_thread(("127.0.0.1", 1), listen=taken.getsockname()),
    ):
        raise AssertionError("it was entered")


# -- the page ----------------------------------------------------------------------------------


def test_snippets_of_the_page_do_what_they_say() -> None:
    """In its order, each with the names of those before."""
    page = "docs/howto/soak-and-faults.md"
    names: dict[str, Any] = {}
    ran = [(run(code, names, page), promised(code)) for code in snippets(page)]
    assert [printed for printed, _ in ran] == [said for _, said in ran]
    assert [bool(printed) for printed, _ in ran] == [True, True]
