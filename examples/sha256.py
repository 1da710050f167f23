"""Work that releases the GIL: SHA-256 of whole uploads, on two worker threads.

asyncrev serve --threads 2 --processor examples.sha256:Sha256
nc -N 127.0.0.1 9090 <README.md
"""

import asyncio
import hashlib

import asyncrev


class Sha256:
    """Answers with the digest of all input, at its end. One object per connection, so it has state.

    hashlib releases the GIL for pieces of 2 KiB and more, so two such threads use two cores.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def process(self, chunk: memoryview) -> None:
        """Take a chunk in, wherever the network split it."""
        self._hash.update(chunk)

    def eof(self) -> bytes:
        """Return the digest, as a line."""
        return self._hash.hexdigest().encode() + b"\n"


async def upload(port: int, data: bytes) -> bytes:
    """Send `data`, then read the answer to it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    writer.write_eof()
    digest = await reader.read()
    writer.close()
    await writer.wait_closed()
    return digest


async def main() -> None:
    """Upload four files at once."""
    files = [bytes([number]) * 1_000_000 for number in range(4)]
    async with await asyncrev.serve("127.0.0.1", 0, processor=Sha256, threads=2) as server:
        digests = await asyncio.gather(*(upload(server.port, data) for data in files))
        for data, digest in zip(files, digests, strict=True):
            assert digest.decode().strip() == hashlib.sha256(data).hexdigest()
            print(digest.decode()[:16])
        busy = [bridge for bridge in server.statistics().bridges if bridge.processed]
        print(f"{len(busy)} threads had work")
        await server.drain()


if __name__ == "__main__":
    asyncrev.run(main())
