"""A processor that waits for another service: each line is looked up by HTTP, with aiohttp.

Replies keep the order of the lines, although the service answers the first one last. The session is
shared by all connections; at most 32 look-ups of one of them run at a time.
"""

import asyncio
import functools

import aiohttp
import aiohttp.web

import asyncrev


class LookUp:
    """Answers a line with what the service says of it."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def process(self, line: bytes) -> bytes:
        """Return the body of the service's response."""
        async with self._session.get(self._url, params={"word": line.decode()}) as response:
            return await response.read()


async def service() -> tuple[aiohttp.web.AppRunner, str]:
    """Start the other service: it takes longer for shorter words."""

    async def answer(request: aiohttp.web.Request) -> aiohttp.web.Response:
        word = request.query["word"]
        await asyncio.sleep(0.2 / len(word))
        return aiohttp.web.Response(text=f"{word} has {len(word)} letters")

    app = aiohttp.web.Application()
    app.router.add_get("/", answer)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/"


async def main() -> None:
    """Look three words up on one connection."""
    runner, url = await service()
    async with aiohttp.ClientSession() as session:
        processor = functools.partial(LookUp, session, url)
        async with await asyncrev.serve(
            "127.0.0.1", 0, processor=processor, framing="line"
        ) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"ox\nheron\nsalamander\n")
            writer.write_eof()
            print((await reader.read()).decode(), end="")
            writer.close()
            await writer.wait_closed()
    await runner.cleanup()


if __name__ == "__main__":
    asyncrev.run(main())
