"""Frames answered by a Dask cluster: two steps for each, on workers that may be other machines.

    pip install 'asyncrev[dask]'

Without an address, a cluster of worker processes is started on this machine; with
`ExecutorSettings(address="tcp://192.0.2.7:8786")` the frames go to the scheduler there.
"""

import asyncio
import hashlib

import asyncrev
from asyncrev.executors.settings import ExecutorSettings


def normalize(text: bytes) -> bytes:
    """First step: the words, in lower case, with one space between them."""
    return b" ".join(text.lower().split())


def pipeline(frame: bytes) -> bytes:
    """Both steps: the digest of the normalized text."""
    return hashlib.sha256(normalize(frame)).hexdigest()[:16].encode()


# Dask runs the tasks of a worker that is lost again, so a frame must be one that may run twice.
pipeline.idempotent = True  # type: ignore[attr-defined]


async def main() -> None:
    """Have three texts digested, two of which are the same when they are normalized."""
    async with await asyncrev.serve(
        "127.0.0.1",
        0,
        processor=pipeline,
        framing="line",
        executor="dask",
        executor_settings=ExecutorSettings(workers=2),
    ) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"The  quick brown fox\nthe quick BROWN fox\nthe lazy dog\n")
        writer.write_eof()
        print((await reader.read()).decode(), end="")
        writer.close()
        await writer.wait_closed()


if __name__ == "__main__":
    asyncrev.run(main())
