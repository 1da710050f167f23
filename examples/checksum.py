"""A processor with state: one CRC per connection, sent when the peer has sent everything.

asyncrev serve --processor examples.checksum:Checksum
printf hello | nc -N 127.0.0.1 9090
"""

import asyncio
import zlib

import asyncrev


class Checksum:
    """Answers with the CRC-32 of all input, at its end. zlib releases the GIL meanwhile."""

    def __init__(self) -> None:
        self.crc = 0

    def process(self, chunk: memoryview) -> None:
        """Take a chunk in; there is nothing to say yet."""
        self.crc = zlib.crc32(chunk, self.crc)

    def eof(self) -> bytes:
        """Return the checksum."""
        return f"{self.crc:08x}\n".encode()


async def main() -> None:
    """Serve, and ask once."""
    async with await asyncrev.serve("127.0.0.1", 0, processor=Checksum) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"hello")
        writer.write_eof()
        print((await reader.read()).decode(), end="")
        writer.close()
        await writer.wait_closed()
        await server.drain()


if __name__ == "__main__":
    asyncrev.run(main())
