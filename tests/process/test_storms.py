"""The server under faults and storms, with a history of every connection.

Whatever the network, the peers and the process suffer: what comes back on a connection is the
answer to a prefix of what was sent on it, and to all of it unless the connection was ended.
"""

import asyncio
import contextlib
import itertools
import os
import random
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from asyncrev.testing.faults import NOTHING, FaultProxy, Toxics
from asyncrev.testing.frame_history import FrameHistory
from asyncrev.testing.history import History, HistoryError
from tests.process.processors import FLIP, HERE
from tests.process.storm_processors import PAUSING, SLOW
from tests.process.telling import statistics_of, telling
from tests.soak.clients import connected, ping_pong, pipelined, resetting
from tests.support import DEADLINE_S, ServerProcess, flipped, serving, until, wait_until

# The clients' loop is the stock one, so that what is tested does not test itself; the server's is a
# parameter.
pytestmark = [pytest.mark.process]
on_stock_loop = pytest.mark.asyncio(loop_factories=["asyncio"])

DIRECTIONS = ["upstream", "downstream"]
HEAVY = [
    pytest.param(loop, framing, marks=pytest.mark.stress)
    for loop in ("epoll", "asyncio", "uvloop")
    for framing in ("raw", "len32")
]

# Each of toxiproxy's faults, and whether a connection may be ended by it.
SEVEN: dict[str, tuple[Toxics, bool]] = {
    "latency": (Toxics(latency_s=0.003, jitter_s=0.002), False),
    "bandwidth": (Toxics(bandwidth_bytes_per_s=2_000_000), False),
    "slow_close": (Toxics(slow_close_s=0.05), False),
    "timeout": (Toxics(timeout_s=0.1), True),
    "reset_peer": (Toxics(reset_peer_s=0.05, bandwidth_bytes_per_s=1_000_000), True),
    "slicer": (Toxics(slicer_bytes=300, slicer_variation_bytes=299), False),
    "limit_data": (Toxics(limit_bytes=70_001), True),
}

_ids = itertools.count(1)


def history_of(framing: str, flips: bool = False) -> History:
    """Return the history of a new connection to a server with `arguments(…, framing)`.

    `flips`: it has another processor, which flips the payloads of frames, too.
    """
    if framing == "raw":
        return History(next(_ids), flipped)
    answer = flipped if flips else _reversed
    return FrameHistory(next(_ids), answer, framing)


def _reversed(payload: bytes) -> bytes:
    return payload[::-1]


def arguments(loop: str, framing: str, processor: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return those of a server with a small ring, which is full and goes round all the time."""
    processor = processor or (FLIP if framing == "raw" else ())
    ring = ("--slots", "8", "--slot-bytes", "65536")
    return ("--loop", loop, "--framing", framing, *processor, *ring)


def some_sizes(draw: random.Random, total_bytes: int) -> list[int]:
    """Return lengths of messages, small and large, that add up to about so many bytes."""
    sizes: list[int] = []
    while sum(sizes) < total_bytes:
        sizes.append(draw.choice([1, 17, 64, 500, 4096, 20_000, 70_000]))
    return sizes


def end_in_good_order(server: ServerProcess) -> str:
    """Have the server drain, which must work, and return its last lines."""
    code, stderr = server.terminate()
    assert code == 0, stderr[-2000:]
    assert "Traceback" not in stderr
    return stderr


async def everything_came_back(server: ServerProcess, descriptors: int) -> None:
    """Wait until no connection and no entry is left; nobody had to be woken by a timeout."""
    await until(lambda: statistics_of(server)["connections"] == 0, "all connections have ended")
    await until(lambda: server.descriptors() <= descriptors, "all descriptors are closed")

    def released() -> bool:
        bridge = statistics_of(server)["bridge"]
        return bridge["published"] == bridge["released"] and not bridge["lanes"]

    await until(released, "every entry is released")
    assert statistics_of(server)["bridge"]["backstop_wakes"] == 0


async def descriptors_of(server: ServerProcess, framing: str, flips: bool = False) -> int:
    """Return how many descriptors it has with nobody connected, once it has served somebody."""
    async with connected(server.address) as sock:
        await ping_pong(history_of(framing, flips), sock, [100])
    await until(lambda: statistics_of(server)["connections"] == 0, "it is gone")
    return server.descriptors()


# -- the seven faults --------------------------------------------------------------------------


@pytest.mark.parametrize(("loop", "framing"), [("epoll", "raw"), *HEAVY])
@on_stock_loop
async def test_each_of_seven_faults_both_ways(
    loop: str, framing: str, request: pytest.FixtureRequest
) -> None:
    """All proxies at once; who is not ended by the fault gets everything."""
    total_bytes = 1_500_000 if request.node.get_closest_marker("stress") else 200_000
    draw = random.Random(4)

    async def suffer(address: tuple[str, int], name: str, direction: str) -> None:
        toxics, may_end = SEVEN[name]
        async with FaultProxy(address, **{direction: toxics}) as proxy:  # type: ignore[arg-type]
            async with connected(proxy.address) as sock, asyncio.TaskGroup() as group:
                sizes = some_sizes(draw, total_bytes)
                group.create_task(pipelined(history_of(framing), sock, sizes, may_end=may_end))
            assert proxy.faults[name] >= 1, f"{name} {direction} took no effect"

    with telling(*arguments(loop, framing)) as server:
        base = await descriptors_of(server, framing)
        async with asyncio.TaskGroup() as group:
            for name in SEVEN:
                for direction in DIRECTIONS:
                    group.create_task(suffer(server.address, name, direction))
        await everything_came_back(server, base)
        end_in_good_order(server)


def any_toxics(draw: random.Random, may_end: bool) -> Toxics:
    """Return several faults at once; with `may_end` also those that end connections."""
    return Toxics(
        latency_s=draw.choice([0, 0, 0.001, 0.005]),
        bandwidth_bytes_per_s=draw.choice([float("inf"), 3e6, 3e7]),
        slow_close_s=draw.choice([0, 0.02]),
        slicer_bytes=draw.choice([None, None, 40, 3000]),
        timeout_s=draw.choice([None, None, None, 0, 0.05 if may_end else 0]),
        reset_peer_s=draw.choice([None, None, 0.1 if may_end else None]),
        limit_bytes=draw.choice([None, None, 300_000 if may_end else None]),
    )


@contextlib.asynccontextmanager
async def changing(proxy: FaultProxy, toxics: Callable[[], Toxics]) -> AsyncIterator[None]:
    """Draw toxics anew fifty times per second, for each direction; leave none behind."""

    async def keep_changing() -> None:
        while True:
            proxy.set(upstream=toxics(), downstream=toxics())
            await asyncio.sleep(0.02)

    task = asyncio.create_task(keep_changing())
    try:
        yield
    finally:
        task.cancel()
        proxy.set(upstream=NOTHING, downstream=NOTHING)


@pytest.mark.parametrize("may_end", [False, True])
@pytest.mark.parametrize(("loop", "framing"), [("epoll", "len32"), *HEAVY])
@on_stock_loop
async def test_all_faults_at_once_and_changing(
    loop: str, framing: str, may_end: bool, request: pytest.FixtureRequest
) -> None:
    """Toxics are drawn anew fifty times per second, while connections come and go."""
    clients, rounds = (12, 8) if request.node.get_closest_marker("stress") else (6, 1)
    draw = random.Random(9)
    complete = 0

    async def client(proxy: FaultProxy, number: int) -> None:
        nonlocal complete
        talk = ping_pong if number % 3 == 0 else pipelined
        for _ in range(rounds):
            with contextlib.suppress(OSError if may_end else ()):
                async with connected(proxy.address, 4096 if number % 2 else None) as sock:
                    sizes = some_sizes(draw, 50_000 if talk is ping_pong else 150_000)
                    done = await talk(history_of(framing), sock, sizes, may_end=may_end)
                    complete += done

    with telling(*arguments(loop, framing)) as server:
        base = await descriptors_of(server, framing)
        async with FaultProxy(server.address, seed=1) as proxy:
            async with (
                changing(proxy, lambda: any_toxics(draw, may_end)),
                asyncio.TaskGroup() as group,
            ):
                for number in range(clients):
                    group.create_task(client(proxy, number))
            await everything_came_back(server, base)
            assert sum(proxy.faults.values()) > 0
        assert may_end or complete == clients * rounds
        end_in_good_order(server)


# -- descriptors -------------------------------------------------------------------------------


@pytest.mark.parametrize(("loop", "framing"), [("epoll", "raw"), *HEAVY])
@on_stock_loop
async def test_reused_descriptors_carry_no_foreign_byte(
    loop: str, framing: str, request: pytest.FixtureRequest
) -> None:
    """Clients reset at once, with entries in flight; whoever gets their descriptors is served.

    The processor is slow, and steady clients keep it busy, so what the reset ones sent is worked
    on when they have long gone. That descriptors are reused shows in their highest number.
    """
    storms, steady = (3000, 4) if request.node.get_closest_marker("stress") else (200, 2)
    draw = random.Random(2)
    in_flight: list[int] = []

    async def storm(server: ServerProcess, count: int) -> None:
        for number in range(count):
            async with connected(server.address) as sock:
                if number % 4 == 3:  # an heir that stays until it has its answer
                    await pipelined(history_of(framing, True), sock, [draw.choice([1, 100])])
                else:
                    sizes = [draw.choice([20, 3000, 60_000])]
                    await resetting(history_of(framing, True), sock, sizes)
            if number % 20 == 0:
                bridge = statistics_of(server)["bridge"]
                in_flight.append(bridge["published"] - bridge["released"])

    with telling(*arguments(loop, framing, SLOW)) as server:
        base = await descriptors_of(server, framing, True)
        async with asyncio.TaskGroup() as group:
            for _ in range(steady):
                sizes = [100] * (storms // steady)
                group.create_task(steady_client(server, framing, sizes))
            for _ in range(4):
                group.create_task(storm(server, storms // 4))
        accepted = statistics_of(server)["accepted"]
        assert accepted >= storms + steady
        assert max(in_flight) > 0, "nothing was in flight when connections were reset"
        highest = max(map(int, os.listdir(f"/proc/{server.pid}/fd")))
        await everything_came_back(server, base)
        assert highest < base + 40, "descriptors were not reused"
        end_in_good_order(server)


async def steady_client(server: ServerProcess, framing: str, sizes: list[int]) -> None:
    """Ask and verify, message by message."""
    async with connected(server.address) as sock:
        await ping_pong(history_of(framing, True), sock, sizes)


@pytest.mark.parametrize("framing", ["raw", "len32"])
@pytest.mark.parametrize("loop", ["epoll", "asyncio", "uvloop"])
@pytest.mark.stress
@on_stock_loop
async def test_out_of_descriptors_again_and_again(loop: str, framing: str) -> None:
    """Who is inside goes on; who is outside waits for a descriptor and then gets its answer."""
    stop = asyncio.Event()

    async def inside(server: ServerProcess) -> None:
        history = history_of(framing)
        async with connected(server.address) as sock:
            while not stop.is_set():
                await ping_pong(history, sock, [10, 1000, 30_000])

    async def visitor(server: ServerProcess, number: int) -> None:
        async with connected(server.address) as sock:
            await (ping_pong if number % 2 else pipelined)(history_of(framing), sock, [500, 20_000])

    with telling(*arguments(loop, framing)) as server:
        base = await descriptors_of(server, framing)
        limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        steady = [asyncio.create_task(inside(server)) for _ in range(3)]
        await until(lambda: statistics_of(server)["connections"] == 3, "they are in")
        for wave in range(5):
            errors = statistics_of(server)["accept_errors"]
            # A descriptor is refused if its number is not below the limit.
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (base + 3 + wave % 2, limits[1]))
            visitors = [asyncio.create_task(visitor(server, number)) for number in range(12)]
            await until(lambda e=errors: statistics_of(server)["accept_errors"] > e, "it failed")
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)
            await asyncio.gather(*visitors)
        stop.set()
        await asyncio.gather(*steady)
        await everything_came_back(server, base)
        end_in_good_order(server)


# -- what stands still and goes on ---------------------------------------------------------------


def stop_process(pid: int) -> None:
    """Stop a process, and wait until it stands."""
    os.kill(pid, signal.SIGSTOP)
    stat = Path(f"/proc/{pid}/stat")
    wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "it is stopped")


@pytest.mark.parametrize(("loop", "framing"), [("epoll", "len32"), *HEAVY])
@on_stock_loop
async def test_server_that_is_stopped_goes_on_where_it_was(
    loop: str, framing: str, request: pytest.FixtureRequest
) -> None:
    """In the middle of everything, several times; the kernel's buffers fill meanwhile."""
    total_bytes = 20_000_000 if request.node.get_closest_marker("stress") else 8_000_000
    histories = [history_of(framing) for _ in range(2)]

    async def client(server: ServerProcess, history: History) -> None:
        sizes = some_sizes(random.Random(history.stream.connection_id), total_bytes)
        async with connected(server.address, 16_384) as sock:
            await pipelined(history, sock, sizes)

    def received() -> int:
        return sum(history.received_bytes for history in histories)

    with telling(*arguments(loop, framing)) as server:
        base = await descriptors_of(server, framing)
        tasks = [asyncio.create_task(client(server, history)) for history in histories]
        interrupted = 0
        for eighths in range(1, 4):
            share = eighths * 2 * total_bytes // 8
            await until(lambda share=share: received() >= share, "some of it came back")
            stop_process(server.pid)
            before, now = -1, received()
            while before != now:  # until nothing more is on its way
                await asyncio.sleep(0.02)
                before, now = now, received()
            interrupted += not all(task.done() for task in tasks)
            server.signal(signal.SIGCONT)
        assert interrupted, "the kernel's buffers had room for everything"
        await asyncio.gather(*tasks)
        await everything_came_back(server, base)
        end_in_good_order(server)


def client_process(
    server: ServerProcess, connection_id: int, messages: int
) -> "subprocess.Popen[bytes]":
    """Start a client that sends so many messages of 20,000 bytes."""
    arguments = map(str, (server.port, connection_id, messages))
    return subprocess.Popen(
        [sys.executable, "-m", "tests.process.storm_client", *arguments], **HERE
    )


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["epoll", "uvloop"])
@on_stock_loop
async def test_client_that_is_stopped_holds_up_nobody_and_goes_on(loop: str) -> None:
    """It takes nothing, so it is not read; when it goes on it gets everything."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(telling(*arguments(loop, "raw")))
        base = await descriptors_of(server, "raw")
        client = client_process(server, connection_id=99_999, messages=1500)
        stack.callback(client.wait)
        stack.callback(client.kill)
        for part in range(1, 4):
            await until(
                lambda p=part: statistics_of(server)["received_bytes"] >= p * 6_000_000, "part came"
            )
            stop_process(client.pid)
            async with connected(server.address) as sock:
                await ping_pong(history_of("raw"), sock, [10, 5000, 70_000] * 30)
            assert client.poll() is None
            client.send_signal(signal.SIGCONT)
        assert await asyncio.to_thread(client.wait, 6 * DEADLINE_S) == 0
        await everything_came_back(server, base)
        end_in_good_order(server)


@pytest.mark.parametrize(("loop", "framing"), [("epoll", "raw"), *HEAVY])
@on_stock_loop
async def test_worker_that_hangs_for_a_while_stops_the_reading(
    loop: str, framing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile no more is received than the quotas say; then everything is answered."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    monkeypatch.setenv("GATE", str(gate))

    def reached_gate() -> int | None:
        try:
            return os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody has opened it to read
            return None

    async def client(server: ServerProcess) -> None:
        async with connected(server.address) as sock:
            await pipelined(history_of(framing, True), sock, [20_000] * 150)

    slot_bytes, quota_bytes, overflow_bytes = 65_536, 100_000, 16_384
    settings = ("--in-flight-bytes", str(quota_bytes))
    with telling(*arguments(loop, framing, PAUSING), *settings) as server, open_later() as held:
        tasks = [asyncio.create_task(client(server)) for _ in range(3)]
        held.append(await until(reached_gate, "the worker hangs"))
        before, now = -1, 0
        while before != now:
            await asyncio.sleep(0.05)
            before, now = now, statistics_of(server)["received_bytes"]
        assert now <= 3 * (quota_bytes + slot_bytes + overflow_bytes) + 5 * slot_bytes
        assert not any(task.done() for task in tasks)
        os.close(held.pop())
        await asyncio.gather(*tasks)
        assert statistics_of(server)["received_bytes"] >= 3 * 150 * 20_000
        end_in_good_order(server)


@contextlib.contextmanager
def open_later() -> Iterator[list[int]]:
    """Give a list for descriptors, and close those that are still in it."""
    held: list[int] = []
    try:
        yield held
    finally:
        for fd in held:
            os.close(fd)


# -- small buffers -----------------------------------------------------------------------------


@pytest.mark.parametrize(("loop", "framing"), [("epoll", "raw"), *HEAVY])
@on_stock_loop
async def test_smallest_socket_buffers_both_ways(
    loop: str, framing: str, request: pytest.FixtureRequest
) -> None:
    """Hardly any write is taken whole, at changing offsets, and every window is small."""
    total_bytes = 2_000_000 if request.node.get_closest_marker("stress") else 150_000
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # accepted sockets inherit them
            listener.setsockopt(socket.SOL_SOCKET, option, 1)
        # Loopback's segments of 64 KiB do not fit into such windows; they would wait for timers.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = stack.enter_context(
            serving(
                *arguments(loop, framing),
                *("--fd", str(listener.fileno())),
                pass_fds=[listener.fileno()],
                **HERE,
            )
        )
        listener.close()

        async def client(number: int) -> None:
            sizes = some_sizes(random.Random(number), total_bytes)
            async with connected(server.address, 1) as sock:
                await pipelined(history_of(framing), sock, sizes)

        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(client(number))
        end_in_good_order(server)


# -- the checks themselves -----------------------------------------------------------------------


@on_stock_loop
async def test_wrong_answers_are_noticed() -> None:
    """A history with another transform than the server's is the same as a server that errs."""
    with serving(*arguments("epoll", "raw"), **HERE) as server:
        async with connected(server.address) as sock:
            with pytest.raises(HistoryError, match="offset 0: changed"):
                await pipelined(History(next(_ids), bytes.swapcase), sock, [1000] * 10)
        async with connected(server.address) as sock:
            history = History(next(_ids), flipped)
            foreign = History(next(_ids), flipped)
            await asyncio.get_running_loop().sock_sendall(sock, foreign.take(1000))
            with pytest.raises(HistoryError, match="crossed: these are bytes of connection"):
                await pipelined(history, sock, [1000] * 10)
