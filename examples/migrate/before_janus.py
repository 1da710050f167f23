"""A thread between two janus queues."""

import asyncio
import contextlib
import threading

import janus

from signing import sign


def work(requests, replies):
    while True:
        writer, line = requests.get()
        reply = b"" if line is None else sign(line) + b"\n"
        replies.put((writer, reply))


async def send(replies):
    while True:
        writer, reply = await replies.get()
        if reply:
            writer.write(reply)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
        else:
            writer.close()


async def main():
    requests, replies = janus.Queue(100), janus.Queue(100)
    args = requests.sync_q, replies.sync_q
    threading.Thread(
        target=work, args=args, daemon=True
    ).start()
    sending = asyncio.create_task(send(replies.async_q))

    async def handle(reader, writer):
        async for line in reader:
            line = line.removesuffix(b"\n")
            await requests.async_q.put((writer, line))
        await requests.async_q.put((writer, None))

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await sending


asyncio.run(main())
