"""One thread behind a queue that both asyncio and threads can use; `janus_queue`, `culsans_queue`.

All connections put into one bounded queue, one thread takes from it in order and hands each reply
back with `call_soon_threadsafe`, so a connection's replies are in order, and its close comes last.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from benchmarks.peers.common import BACKLOG, CHUNK_BYTES, HOST, run

QUEUE_ITEMS = 1024


def serve(make_queue: Callable[[int], Any], port: int, loop_name: str) -> None:
    """Serve with a queue that has the two sides `async_q` and `sync_q`, as both libraries do."""

    async def make_server() -> asyncio.Server:
        queue = make_queue(QUEUE_ITEMS)
        loop = asyncio.get_running_loop()
        threading.Thread(target=_work, args=(queue.sync_q, loop), daemon=True).start()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while chunk := await reader.read(CHUNK_BYTES):
                    await queue.async_q.put((writer, chunk))
                    await writer.drain()
            except ConnectionError:
                pass  # the peer has gone
            await queue.async_q.put((writer, b""))  # behind all that is still to be answered

        return await asyncio.start_server(handle, HOST, port, limit=CHUNK_BYTES, backlog=BACKLOG)

    run(make_server, loop_name)


def _work(requests: Any, loop: asyncio.AbstractEventLoop) -> None:
    while True:
        writer, chunk = requests.get()
        try:
            if chunk:
                loop.call_soon_threadsafe(writer.write, chunk[::-1])
            else:
                loop.call_soon_threadsafe(writer.close)
        except RuntimeError:
            return  # the loop was closed
