"""A client that sends 64 MiB and reads nothing: the server stops reading, and keeps its bound.

Then the client reads after all, and gets every byte.
"""

import asyncio

import asyncrev

DATA = b"Abcdefgh" * (8 * 1024 * 1024)


class Connection(asyncrev.BridgeProtocol):
    """Tells `behind` when its peer takes too little, so that it is no longer read."""

    def __init__(self, bridge: asyncrev.Bridge, behind: "asyncio.Future[Connection]") -> None:
        # Each letter is changed for itself, so it does not matter where the network splits.
        super().__init__(bridge, bytes.swapcase)
        self.behind = behind
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Keep the transport, to look at its write buffer."""
        self.transport = transport
        super().connection_made(transport)

    def pause_writing(self) -> None:
        """Note that unsent replies have reached `Limits.high_water_bytes`."""
        super().pause_writing()  # stops the reading
        if not self.behind.done():
            self.behind.set_result(self)


async def main() -> None:
    """Send without reading until the server has had enough; look; then read."""
    loop = asyncio.get_running_loop()
    behind: asyncio.Future[Connection] = loop.create_future()
    async with (
        asyncrev.Bridge(asyncrev.Limits(high_water_bytes=64 * 1024)) as bridge,
        await loop.create_server(lambda: Connection(bridge, behind), "127.0.0.1", 0) as server,
    ):
        host, port = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(DATA)
        writer.write_eof()
        connection = await behind
        unsent_bytes = connection.transport.get_write_buffer_size()
        print("stopped reading before the end:", connection.received_bytes < len(DATA))
        print("unsent replies within the bound:", unsent_bytes <= bridge.limits.unsent_bytes)
        print("everything came after all:", await reader.read() == DATA.swapcase())
        writer.close()
        await writer.wait_closed()


if __name__ == "__main__":
    asyncrev.run(main())
