"""Work on a worker thread, beside a health check."""

import asyncio

import asyncrev

from signing import sign


async def health(reader, writer):
    async for _ in reader:
        writer.write(b"up\n")
    writer.close()


async def main():
    server = await asyncrev.serve(
        "127.0.0.1", 0, processor=sign, framing="line"
    )
    check = await asyncio.start_server(health, "127.0.0.1", 0)
    ports = server.port, check.sockets[0].getsockname()[1]
    print(*ports, flush=True)
    async with server, check:
        await server.serve_forever()


asyncrev.run(main())
