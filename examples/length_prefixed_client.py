"""The client's side as a bridge: a worker that dials out, is sent jobs, and answers each.

What a BridgeProtocol receives is worked on, whoever made the connection; so a program that
connects to a dispatcher and serves it needs no more than `create_connection`.
"""

import asyncio
import zlib

import asyncrev

JOBS = [b"first job", b"second job", b"x" * 100_000]


def checksum(job: bytes) -> bytes:
    """Return the answer to a job. It becomes a frame, as the job was."""
    return f"{zlib.crc32(job):08x}".encode()


async def dispatch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Give a worker all jobs, and print its answers. Plain asyncio streams."""
    for job in JOBS:
        writer.write(len(job).to_bytes(4, "big") + job)
    writer.write_eof()  # no more jobs: the worker answers what it has, then closes
    for job in JOBS:
        length_bytes = int.from_bytes(await reader.readexactly(4), "big")
        answer = await reader.readexactly(length_bytes)
        print(len(job), "bytes:", answer.decode())
    print("after the last answer:", await reader.read())
    writer.close()
    await writer.wait_closed()


async def main() -> None:
    """Start the dispatcher, then one worker that connects to it."""
    loop = asyncio.get_running_loop()
    finished = asyncio.Event()

    async def dispatch_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await dispatch(reader, writer)
        finished.set()

    async with (
        await asyncio.start_server(dispatch_once, "127.0.0.1", 0) as dispatcher,
        asyncrev.Bridge() as bridge,
    ):
        host, port = dispatcher.sockets[0].getsockname()
        await loop.create_connection(
            lambda: asyncrev.BridgeProtocol(bridge, checksum, framing="len32"), host, port
        )
        await finished.wait()


if __name__ == "__main__":
    asyncrev.run(main())
