"""websockets: its asyncio server and client."""

import asyncio
import ssl
from typing import Any

import pytest

from tests.ecosystem.conftest import Run

server = pytest.importorskip("websockets.asyncio.server")
client = pytest.importorskip("websockets.asyncio.client")


async def echo(connection: Any) -> None:
    """Greet, then send back every message."""
    await connection.send("hello")
    async for message in connection:
        await connection.send(message)


@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_messages_pings_and_the_closing_handshake(
    run: Run[Any], contexts: tuple[ssl.SSLContext, ssl.SSLContext], kind: str, payload: bytes
) -> None:
    """On ten connections at once, compressed and not."""
    server_tls, client_tls = contexts if kind == "tls" else (None, None)

    async def talk(port: int, number: int) -> list[Any]:
        async with client.connect(
            f"{'wss' if kind == 'tls' else 'ws'}://localhost:{port}",
            host="127.0.0.1",
            ssl=client_tls,
            max_size=8 << 20,
            proxy=None,
            compression="deflate" if number % 2 else None,
        ) as connection:
            received = [await connection.recv()]
            await (await connection.ping())
            for message in (payload, f"text {number}", b""):
                await connection.send(message)
                received.append(await connection.recv())
            return received

    async def main() -> list[list[Any]]:
        async with server.serve(echo, "127.0.0.1", 0, ssl=server_tls, max_size=8 << 20) as serving:
            port = serving.sockets[0].getsockname()[1]
            return await asyncio.gather(*(talk(port, number) for number in range(10)))

    expected = [["hello", payload, f"text {number}", b""] for number in range(10)]
    assert run(main()) == expected
