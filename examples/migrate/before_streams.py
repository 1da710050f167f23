"""Work in the event loop, beside a health check."""

import asyncio

from signing import sign


async def handle(reader, writer):
    async for line in reader:
        writer.write(sign(line.removesuffix(b"\n")) + b"\n")
        await writer.drain()
    writer.close()


async def health(reader, writer):
    async for _ in reader:
        writer.write(b"up\n")
    writer.close()


async def main():
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    check = await asyncio.start_server(health, "127.0.0.1", 0)
    for each in server, check:
        print(each.sockets[0].getsockname()[1], end=" ")
    print(flush=True)
    async with server, check:
        await server.serve_forever()


asyncio.run(main())
