"""The same program on uvloop. A bridge runs on any asyncio loop, so only the last line differs.

asyncrev serve --loop uvloop
"""

import asyncio

import asyncrev

try:
    import uvloop
except ImportError:
    uvloop = None


async def main() -> None:
    """Reverse one message on whatever loop this runs."""
    loop = asyncio.get_running_loop()
    async with asyncrev.Bridge() as bridge:
        server = await loop.create_server(
            lambda: asyncrev.BridgeProtocol(bridge), host="127.0.0.1", port=0
        )
        async with server:
            host, port = server.sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"hello")
            writer.write_eof()
            print((await reader.read()).decode(), "by", type(loop).__module__.split(".")[0])
            writer.close()
            await writer.wait_closed()


if __name__ == "__main__":
    if uvloop is None:
        print("no uvloop here (pip install 'asyncrev[uvloop]'); asyncio's loop instead")
        asyncio.run(main())
    else:
        uvloop.run(main())
