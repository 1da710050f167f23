"""anyio on its asyncio backend, with our loop as its factory: sockets, TLS, processes, threads."""

import asyncio
import ssl
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from asyncrev import EpollEventLoop
from tests.ecosystem.conftest import MOST_S

anyio = pytest.importorskip("anyio")
tls = pytest.importorskip("anyio.streams.tls")

RunFunction = Callable[[Callable[[], Awaitable[Any]]], Any]


@pytest.fixture(params=["epoll", "epoll-debug", "asyncio"])
def run_anyio(request: pytest.FixtureRequest) -> RunFunction:
    """`anyio.run` on a loop that the name of the test tells, with a deadline."""
    factory = asyncio.SelectorEventLoop if request.param == "asyncio" else EpollEventLoop
    options = {"loop_factory": factory, "debug": request.param == "epoll-debug"}

    def run_on_it(main: Callable[[], Awaitable[Any]]) -> Any:
        async def bounded() -> Any:
            assert type(asyncio.get_running_loop()) is factory
            with anyio.fail_after(MOST_S):
                return await main()

        return anyio.run(bounded, backend="asyncio", backend_options=options)

    return run_on_it


async def receive_all(stream: Any) -> bytes:
    """Return all up to the end of a stream."""
    return b"".join([part async for part in stream])


@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_echo_over_streams(
    run_anyio: RunFunction,
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
    kind: str,
    payload: bytes,
) -> None:
    """Ten clients at once."""
    received: list[bytes] = []

    async def echo(stream: Any) -> None:
        async with stream:
            async for part in stream:
                await stream.send(part.upper())

    async def talk(port: int) -> None:
        stream = await anyio.connect_tcp("127.0.0.1", port)
        if kind == "tls":
            stream = await tls.TLSStream.wrap(
                stream, hostname="localhost", ssl_context=contexts[1], standard_compatible=False
            )
        async with stream, anyio.create_task_group() as tasks:
            tasks.start_soon(stream.send, payload)
            got = b""
            while len(got) < len(payload):
                got += await stream.receive()
            received.append(got)

    async def main() -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        if kind == "tls":
            listener = tls.TLSListener(listener, contexts[0], standard_compatible=False)
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, echo)
            async with anyio.create_task_group() as clients:
                for _ in range(10):
                    clients.start_soon(talk, port)
            tasks.cancel_scope.cancel()

    run_anyio(main)
    assert received == [payload.upper()] * 10


def test_processes_threads_and_datagrams(run_anyio: RunFunction, payload: bytes) -> None:
    """A process that shouts, a call from a worker thread back into the loop, and UDP."""
    shout = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read().upper())"

    async def main() -> tuple[bytes, int, bytes]:
        done = await anyio.run_process([sys.executable, "-c", shout], input=payload)

        def in_thread() -> int:
            result: int = anyio.from_thread.run(add, 1, 2)
            return result

        async def add(one: int, other: int) -> int:
            await anyio.sleep(0)
            return one + other

        total = await anyio.to_thread.run_sync(in_thread)
        async with await anyio.create_udp_socket(local_host="127.0.0.1") as server:
            port = server.extra(anyio.abc.SocketAttribute.local_port)
            async with await anyio.create_connected_udp_socket("127.0.0.1", port) as client:
                await client.send(b"datagram")
                data, address = await server.receive()
                await server.sendto(data.upper(), *address)
                return done.stdout, total, await client.receive()

    assert run_anyio(main) == (payload.upper(), 3, b"DATAGRAM")
