"""aiohttp: server and client, plain and over TLS, WebSockets, and files by sendfile."""

import asyncio
import contextlib
import pathlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.ecosystem.conftest import Run

aiohttp = pytest.importorskip("aiohttp")
web = pytest.importorskip("aiohttp.web")

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


async def upper(request: Any) -> Any:
    """Answer with the body in upper case."""
    return web.Response(body=(await request.read()).upper())


async def socket_echo(request: Any) -> Any:
    """Greet, then send back every message."""
    socket = web.WebSocketResponse(max_msg_size=8 << 20)
    await socket.prepare(request)
    await socket.send_str("hello")
    async for message in socket:
        await socket.send_bytes(message.data)
    return socket


@contextlib.asynccontextmanager
async def session(contexts: Contexts, kind: str, folder: pathlib.Path) -> AsyncIterator[Any]:
    """A client session whose base is a server with the three handlers."""
    server_tls, client_tls = contexts
    app = web.Application(client_max_size=8 << 20)
    app.router.add_post("/upper", upper)
    app.router.add_get("/socket", socket_echo)
    app.router.add_static("/files", folder)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(
            runner, "127.0.0.1", 0, ssl_context=server_tls if kind == "tls" else None
        )
        await site.start()
        port = runner.addresses[0][1]
        scheme, tls = ("https", client_tls) if kind == "tls" else ("http", True)
        connector = aiohttp.TCPConnector(ssl=tls, resolver=ToLoopback())
        async with aiohttp.ClientSession(
            f"{scheme}://localhost:{port}", connector=connector
        ) as made:
            yield made
    finally:
        await runner.cleanup()


class ToLoopback(aiohttp.abc.AbstractResolver):  # type: ignore[misc]  # an optional package
    """Resolves every name to 127.0.0.1, so that certificates are asked for by name."""

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[Any]:
        return [
            {
                "hostname": host,
                "host": "127.0.0.1",
                "port": port,
                "family": 2,
                "proto": 0,
                "flags": 0,
            }
        ]

    async def close(self) -> None:
        return None


connections = pytest.mark.parametrize("kind", ["plain", "tls"])


@connections
def test_many_requests_at_once(
    run: Run[Any], contexts: Contexts, kind: str, tmp_path: pathlib.Path, payload: bytes
) -> None:
    """Small and large bodies, on kept and new connections."""
    bodies = [payload, *(b"request %d" % number for number in range(50))]

    async def main() -> list[bytes]:
        async with session(contexts, kind, tmp_path) as client:

            async def post(body: bytes) -> bytes:
                async with client.post("/upper", data=body) as response:
                    assert response.status == 200
                    answer: bytes = await response.read()
                    return answer

            return await asyncio.gather(*map(post, bodies))

    assert run(main()) == [body.upper() for body in bodies]


@connections
def test_websocket_whose_server_speaks_first(
    run: Run[Any], contexts: Contexts, kind: str, tmp_path: pathlib.Path, payload: bytes
) -> None:
    """Its greeting comes with the answer to the handshake."""

    async def main() -> list[Any]:
        async with (
            session(contexts, kind, tmp_path) as client,
            client.ws_connect("/socket", max_msg_size=8 << 20) as socket,
        ):
            received = [await socket.receive_str()]
            for message in (payload, b"", b"short"):
                await socket.send_bytes(message)
                received.append(await socket.receive_bytes())
            return received

    assert run(main()) == ["hello", payload, b"", b"short"]


@connections
def test_file_by_sendfile(
    run: Run[Any], contexts: Contexts, kind: str, tmp_path: pathlib.Path, payload: bytes
) -> None:
    """Whole and in part; the connection goes on after it."""
    (tmp_path / "file").write_bytes(payload)

    async def main() -> tuple[bytes, bytes, bytes]:
        async with session(contexts, kind, tmp_path) as client:
            async with client.get("/files/file") as whole:
                all_of_it = await whole.read()
            async with client.get("/files/file", headers={"Range": "bytes=5-100000"}) as part:
                assert part.status == 206
                some = await part.read()
            async with client.post("/upper", data=b"after") as after:
                return all_of_it, some, await after.read()

    assert run(main()) == (payload, payload[5:100_001], b"AFTER")
