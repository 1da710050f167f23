"""Put a BridgeProtocol into an asyncio program that has other things to do in its loop."""

import asyncio

import asyncrev


async def main() -> None:
    """Reverse one message through a server of this same program, while the loop stays free."""
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
            print((await reader.read()).decode())
            writer.close()
            await writer.wait_closed()


if __name__ == "__main__":
    asyncio.run(main())
