"""The work done by `run_in_executor`, a call per chunk: `executor PORT asyncio|uvloop`.

Each connection waits for its own call before it reads on, so its replies are in order. One
thread: with the GIL more do not reverse faster, and they cost.
"""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

from benchmarks.peers.common import BACKLOG, CHUNK_BYTES, HOST, run

executor = ThreadPoolExecutor(1)


def reverse(chunk: bytes) -> bytes:
    """Return the bytes of `chunk` in reverse order."""
    return chunk[::-1]


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection."""
    loop = asyncio.get_running_loop()
    try:
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(await loop.run_in_executor(executor, reverse, chunk))
            await writer.drain()
    except ConnectionError:
        pass  # the peer has gone
    finally:
        writer.close()


async def make_server() -> asyncio.Server:
    """Listen."""
    port = int(sys.argv[1])
    return await asyncio.start_server(handle, HOST, port, limit=CHUNK_BYTES, backlog=BACKLOG)


if __name__ == "__main__":
    run(make_server, sys.argv[2])
