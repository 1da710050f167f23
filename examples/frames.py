"""Frames: a service on length-prefixed messages, with a function from bytes to bytes.

asyncrev serve --framing len32 --processor examples.frames:shout
"""

import asyncio

import asyncrev


def shout(payload: bytes) -> bytes:
    """Return the reply to one message; it may have any length."""
    return payload.upper() + b"!"


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, payload: bytes) -> bytes:
    """Send one message and return the reply to it."""
    writer.write(len(payload).to_bytes(4, "big") + payload)
    reply_bytes = int.from_bytes(await reader.readexactly(4), "big")
    return await reader.readexactly(reply_bytes)


async def main() -> None:
    """Serve messages of at most 64 KiB, and ask twice."""
    limits = asyncrev.Limits(max_frame_bytes=64 * 1024, frame_timeout_s=5)
    async with await asyncrev.serve(
        "127.0.0.1", 0, processor=shout, framing="len32", limits=limits
    ) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for message in (b"hello", b""):
            print((await ask(reader, writer, message)).decode())
        writer.close()
        await writer.wait_closed()
        await server.drain()


if __name__ == "__main__":
    asyncrev.run(main())
