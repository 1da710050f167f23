"""Bytes of a coroutine's own, without a connection: hash them off the loop, in order, bounded."""

import asyncio
import hashlib

import asyncrev


def digest(data: bytes) -> bytes:
    """Return a hash; hashlib releases the GIL meanwhile."""
    return hashlib.sha256(data).hexdigest().encode()


async def main() -> None:
    """Hash three documents at once; a fourth takes too long and is given up."""
    async with asyncrev.Bridge() as bridge:
        documents = [b"one", b"two", b"three"]
        replies = await asyncio.gather(*(bridge.submit(text, digest) for text in documents))
        for text, reply in zip(documents, replies, strict=True):
            print(text.decode(), reply.decode()[:8])
        try:
            async with asyncio.timeout(0):
                await bridge.submit(b"four", digest)
        except TimeoutError:
            print("four was given up")


if __name__ == "__main__":
    asyncio.run(main())
