"""The server over TLS under faults and storms, with a history of every connection.

A byte of ciphertext that is lost, doubled, changed or of another connection is a record that
OpenSSL cannot decrypt: so beside the histories, no client and no server may find a bad record.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import random
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from asyncrev.testing.faults import Address, FaultProxy, Toxics
from asyncrev.testing.history import History
from tests.process.storm_processors import SLOW
from tests.process.telling import statistics_of, telling
from tests.process.test_storms import (
    DIRECTIONS,
    SEVEN,
    any_toxics,
    arguments,
    changing,
    end_in_good_order,
    everything_came_back,
    history_of,
    some_sizes,
)
from tests.process.test_tls_ends import VERSIONS, client_of
from tests.soak.clients import connected, ping_pong, pipelined
from tests.support import DEADLINE_S, ServerProcess, until
from tests.tls_proxy import through_tls

pytestmark = [pytest.mark.process, pytest.mark.asyncio(loop_factories=["asyncio"])]

HEAVY = [
    pytest.param(loop, framing, marks=pytest.mark.stress)
    for loop in ("epoll", "asyncio", "uvloop")
    for framing in ("raw", "len32")
]


class Clients:
    """Connects over TLS, by TLS 1.2 and TLS 1.3 in turn.

    Attributes:
        errors: what their OpenSSL has found wrong.
    """

    def __init__(self, certificate: tuple[str, str]) -> None:
        self.contexts = itertools.cycle([client_of(certificate, version) for version in VERSIONS])
        self.errors: list[ssl.SSLError] = []

    @contextlib.asynccontextmanager
    async def connected(self, address: Address) -> AsyncIterator[socket.socket]:
        """Give a plain socket that leads through TLS to `address`."""
        async with connected(address) as far:
            near = through_tls(
                socket.socket(fileno=far.detach()),
                next(self.contexts),
                "localhost",
                DEADLINE_S,
                errors=self.errors,
            )
            with near:
                near.setblocking(False)
                yield near


@contextlib.contextmanager
def storm_over_tls(
    certificate: tuple[str, str], *args: str
) -> Iterator[tuple[ServerProcess, Clients]]:
    """Run a server and give clients for it; whatever happens, no record may be found bad."""
    clients = Clients(certificate)
    with telling(*args, "--ssl-certfile", certificate[0]) as server:
        yield server, clients
        stderr = end_in_good_order(server)
    assert not clients.errors
    assert "TLS: " not in stderr


async def descriptors_of(server: ServerProcess, clients: Clients, framing: str) -> int:
    """Return how many descriptors it has with nobody connected, once it has served somebody."""
    async with clients.connected(server.address) as sock:
        await ping_pong(history_of(framing, framing == "raw"), sock, [100])
    await until(lambda: statistics_of(server)["connections"] == 0, "it is gone")
    return server.descriptors()


@pytest.mark.slow
@pytest.mark.parametrize(("loop", "framing"), [("epoll", "len32"), *HEAVY])
async def test_each_of_seven_faults_both_ways_over_tls(
    certificate: tuple[str, str],
    loop: str,
    framing: str,
    request: pytest.FixtureRequest,
) -> None:
    """All proxies at once; who is not ended by the fault gets everything."""
    total_bytes = 1_500_000 if request.node.get_closest_marker("stress") else 200_000
    draw = random.Random(4)

    async def suffer(address: tuple[str, int], name: str, direction: str) -> None:
        toxics, may_end = SEVEN[name]
        async with FaultProxy(address, **{direction: toxics}) as proxy:  # type: ignore[arg-type]
            async with clients.connected(proxy.address) as sock:
                sizes = some_sizes(draw, total_bytes)
                await pipelined(history_of(framing), sock, sizes, may_end=may_end)
            assert proxy.faults[name] >= 1, f"{name} {direction} took no effect"

    with storm_over_tls(certificate, *arguments(loop, framing)) as (server, clients):
        base = await descriptors_of(server, clients, framing)
        async with asyncio.TaskGroup() as group:
            for name in SEVEN:
                for direction in DIRECTIONS:
                    group.create_task(suffer(server.address, name, direction))
        await everything_came_back(server, base)


def any_toxics_of_tls(draw: random.Random, may_end: bool) -> Toxics:
    """Return several faults at once; with `may_end` now and then one that ends connections.

    Some of them within the handshake, which is a few thousand bytes.
    """
    toxics = any_toxics(draw, may_end=False)
    if not may_end:
        return toxics
    return dataclasses.replace(
        toxics,
        reset_peer_s=draw.choice([None] * 30 + [0.01]),
        limit_bytes=draw.choice([None] * 30 + [300, 2000, 20_000]),
    )


@pytest.mark.parametrize("may_end", [False, True])
@pytest.mark.parametrize(("loop", "framing"), [("epoll", "len32"), *HEAVY])
async def test_many_clients_with_all_faults_at_once_and_changing_over_tls(
    certificate: tuple[str, str],
    loop: str,
    framing: str,
    may_end: bool,
    request: pytest.FixtureRequest,
) -> None:
    """Toxics are drawn anew fifty times per second, in handshakes too; connections come and go."""
    is_heavy = request.node.get_closest_marker("stress")
    peers, rounds, total_bytes = (40, 8, 150_000) if is_heavy else (12, 2, 20_000)
    draw = random.Random(9)
    complete = 0

    async def client(proxy: FaultProxy, number: int) -> None:
        nonlocal complete
        talk = ping_pong if number % 3 == 0 else pipelined
        for _ in range(rounds):
            with contextlib.suppress(OSError if may_end else ()):
                async with clients.connected(proxy.address) as sock:
                    sizes = some_sizes(draw, total_bytes)
                    done = await talk(history_of(framing), sock, sizes, may_end=may_end)
                    complete += done

    with storm_over_tls(certificate, *arguments(loop, framing)) as (server, clients):
        base = await descriptors_of(server, clients, framing)
        async with FaultProxy(server.address, seed=1) as proxy:
            async with (
                changing(proxy, lambda: any_toxics(draw, may_end)),
                asyncio.TaskGroup() as group,
            ):
                for number in range(peers):
                    group.create_task(client(proxy, number))
            await everything_came_back(server, base)
            assert sum(proxy.faults.values()) > 0
        assert may_end or complete == peers * rounds


@pytest.mark.slow
@pytest.mark.parametrize(("loop", "framing"), [("epoll", "raw"), *HEAVY])
async def test_resets_over_tls_harm_nobody_who_stays(
    certificate: tuple[str, str],
    loop: str,
    framing: str,
    request: pytest.FixtureRequest,
) -> None:
    """Within handshakes and with entries in flight; whoever gets their descriptors is served.

    The processor is slow, so what the reset ones sent is worked on when they have gone.
    """
    storms, steady = (1500, 4) if request.node.get_closest_marker("stress") else (60, 2)
    draw = random.Random(2)
    in_flight: list[int] = []

    def flips() -> History:
        return history_of(framing, True)

    async def stays(address: Address, sizes: list[int], talk: Callable[..., Awaitable]) -> None:
        async with clients.connected(address) as sock:
            await talk(flips(), sock, sizes)

    async def storm(server: ServerProcess, count: int) -> None:
        for number in range(count):
            toxics = Toxics(reset_peer_s=draw.choice([0.0, 0.002, 0.01, 0.02]))
            async with FaultProxy(server.address, upstream=toxics) as proxy:
                with contextlib.suppress(OSError):
                    async with clients.connected(proxy.address) as sock:
                        await pipelined(flips(), sock, [3000] * 40, may_end=True)
            if number % 4 == 3:  # an heir
                await stays(server.address, [draw.choice([1, 100])], pipelined)
            bridge = statistics_of(server)["bridge"]
            in_flight.append(bridge["published"] - bridge["released"])

    args = arguments(loop, framing, SLOW)
    with storm_over_tls(certificate, *args) as (server, clients):
        await stays(server.address, [100], ping_pong)
        await until(lambda: statistics_of(server)["connections"] == 0, "it is gone")
        base = server.descriptors()
        async with asyncio.TaskGroup() as group:
            for _ in range(steady):
                sizes = [100] * (storms // steady)
                group.create_task(stays(server.address, sizes, ping_pong))
            for _ in range(4):
                group.create_task(storm(server, storms // 4))
        assert max(in_flight) > 0, "nothing was in flight when connections were reset"
        await everything_came_back(server, base)
