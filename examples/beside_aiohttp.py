"""A web application and a server of one's own protocol in one loop, sharing one worker thread."""

import asyncio
import dataclasses
import hashlib

import aiohttp
from aiohttp import web

import asyncrev


def digest(data: bytes) -> bytes:
    """Return a hash. On the worker thread, whoever asked."""
    return hashlib.sha256(data).hexdigest().encode()


def application(bridge: asyncrev.Bridge, server: asyncrev.Server) -> web.Application:
    """Return the web application: its handlers do the heavy part on the bridge."""

    async def post_digest(request: web.Request) -> web.Response:
        return web.Response(body=await bridge.submit(await request.read(), digest))

    async def get_stats(_: web.Request) -> web.Response:
        return web.json_response(dataclasses.asdict(server.statistics()))

    app = web.Application(client_max_size=1024 * 1024)
    app.add_routes([web.post("/digest", post_digest), web.get("/stats", get_stats)])
    return app


async def main() -> None:
    """Ask for the same hash by a frame and over HTTP, then for the statistics."""
    async with (
        asyncrev.Bridge() as bridge,
        await asyncrev.serve(
            "127.0.0.1", 0, processor=digest, framing="line", bridge=bridge
        ) as server,
    ):
        runner = web.AppRunner(application(bridge, server))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = "http://{}:{}".format(*runner.addresses[0])

        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"hello\n")
        print("line:", (await reader.readline()).decode().strip()[:16])
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{url}/digest", data=b"hello") as response:
                print("http:", (await response.text())[:16])
            async with session.get(f"{url}/stats") as response:
                stats = await response.json()
        print(
            "stats:", {name: stats[name] for name in ("connections", "received_bytes", "aborted")}
        )

        writer.close()
        await writer.wait_closed()
        await runner.cleanup()
        await server.drain()


if __name__ == "__main__":
    asyncio.run(main())
