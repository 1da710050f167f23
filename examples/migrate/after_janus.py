"""The thread and both ways to it are the bridge's."""

import asyncio

import asyncrev

from signing import sign


async def main():
    loop = asyncio.get_running_loop()
    async with asyncrev.Bridge() as bridge:
        server = await loop.create_server(
            lambda: asyncrev.BridgeProtocol(
                bridge, sign, framing="line"
            ),
            "127.0.0.1",
            0,
        )
        print(server.sockets[0].getsockname()[1], flush=True)
        async with server:
            await server.serve_forever()


asyncio.run(main())
