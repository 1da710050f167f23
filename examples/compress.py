"""Work that releases the GIL: zlib, on two worker threads, one frame per message.

asyncrev serve --threads 2 --framing len32 --processor examples.compress:Compress
"""

import asyncio
import zlib

import asyncrev


class Compress:
    """Answers each message with what is new in the compressed stream of its connection."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj()

    def process(self, chunk: memoryview) -> bytes:
        """Return what decompresses to `chunk`; the other connections do not wait meanwhile."""
        return self._stream.compress(chunk) + self._stream.flush(zlib.Z_SYNC_FLUSH)

    def eof(self) -> None:
        """Add nothing: each message was flushed."""


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, payload: bytes) -> bytes:
    """Send one message and return the reply to it."""
    writer.write(len(payload).to_bytes(4, "big") + payload)
    reply_bytes = int.from_bytes(await reader.readexactly(4), "big")
    return await reader.readexactly(reply_bytes)


async def main() -> None:
    """Serve, and send the same message twice: the second is known already."""
    async with await asyncrev.serve(
        "127.0.0.1", 0, processor=Compress, framing="len32", threads=2
    ) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        message = b"All work and no play makes Jack a dull boy.\n" * 200
        stream = zlib.decompressobj()
        for _ in range(2):
            reply = await ask(reader, writer, message)
            assert stream.decompress(reply) == message
            assert len(reply) < 200
            print(f"{len(message)} bytes, compressed and back")
        writer.close()
        await writer.wait_closed()
        await server.drain()


if __name__ == "__main__":
    asyncrev.run(main())
