"""Length-prefixed requests, many under way on one connection; answers come in their order.

asyncrev serve --framing len32 --processor examples.length_prefixed_server:square
"""

import asyncio

import asyncrev

REQUESTS = 1000


def square(payload: bytes) -> bytes:
    """Return the square of a number; a payload that is none ends its own connection."""
    return b"%d" % (int(payload) ** 2)


async def send(writer: asyncio.StreamWriter) -> None:
    """Send requests without waiting for answers; `drain` waits while the server is behind."""
    for number in range(REQUESTS):
        payload = b"%d" % number
        writer.write(len(payload).to_bytes(4, "big") + payload)
        await writer.drain()
    writer.write_eof()


async def receive(reader: asyncio.StreamReader) -> list[int]:
    """Return every answer, until the server has ended its side: after the last one."""
    answers = []
    while prefix := await reader.read(4):
        prefix += await reader.readexactly(4 - len(prefix))
        answers.append(int(await reader.readexactly(int.from_bytes(prefix, "big"))))
    return answers


async def main() -> None:
    """Ask a thousand times and check that no answer is missing, doubled or out of order."""
    async with await asyncrev.serve("127.0.0.1", 0, processor=square, framing="len32") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        _, answers = await asyncio.gather(send(writer), receive(reader))
        print(answers == [number**2 for number in range(REQUESTS)], answers[-1])
        writer.close()
        await writer.wait_closed()
        await server.drain()


if __name__ == "__main__":
    asyncrev.run(main())
