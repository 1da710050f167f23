"""A task per line, and a call in a pool per task."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from signing import sign

pool = ThreadPoolExecutor(2)


async def answer(line, writer):
    loop = asyncio.get_running_loop()
    reply = await loop.run_in_executor(pool, sign, line)
    writer.write(reply + b"\n")
    await writer.drain()


async def handle(reader, writer):
    async with asyncio.TaskGroup() as tasks:
        async for line in reader:
            line = line.removesuffix(b"\n")
            tasks.create_task(answer(line, writer))
    writer.close()


async def main():
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


asyncio.run(main())
