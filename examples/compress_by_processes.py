"""Heavy frames on several cores: zlib in two worker processes, in order and bounded.

The function is imported by the workers, so it belongs to a module and keeps no state; what serves
is under the last line's condition, because they import this file, too.
"""

import asyncio
import zlib

import asyncrev
from asyncrev.executors.settings import ExecutorSettings


def compress(frame: bytes) -> bytes:
    """Return the frame, compressed."""
    return zlib.compress(frame, 6)


# A frame may be compressed twice, so those of a worker that dies are tried again.
compress.idempotent = True  # type: ignore[attr-defined]


async def main() -> None:
    """Have a hundred frames compressed on one connection."""
    frames = [bytes([number]) * 20_000 for number in range(100)]
    async with await asyncrev.serve(
        "127.0.0.1",
        0,
        processor=compress,
        framing="len32",
        executor="processes",
        executor_settings=ExecutorSettings(workers=2),
    ) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)

        async def send() -> None:
            for frame in frames:
                writer.write(len(frame).to_bytes(4, "big") + frame)
                await writer.drain()  # the server reads no faster than its workers compress
            writer.write_eof()

        sending = asyncio.create_task(send())
        for frame in frames:
            nbytes = int.from_bytes(await reader.readexactly(4), "big")
            assert zlib.decompress(await reader.readexactly(nbytes)) == frame
        await sending
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        statistics = server.statistics().executor
        assert statistics is not None
        print(f"{statistics.frames} frames, compressed and back, by {statistics.workers} workers")


if __name__ == "__main__":
    asyncrev.run(main())
