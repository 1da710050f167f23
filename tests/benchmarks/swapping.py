"""A server that exchanges two bytes in one reply of a hundred: `swapping PORT FRAMING [FILE]`.

FILE: certificate and key, for TLS.
"""

import asyncio
import ssl
import sys


class Swapping(asyncio.Protocol):
    """Answers each chunk as if it were whole messages, and some of them wrongly."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.chunks = 0

    def data_received(self, data: bytes) -> None:
        self.chunks += 1
        wrong = self.chunks % 100 == 0
        if FRAMING == "line":
            lines = data.split(b"\n")
            reply = bytearray(b"\n".join([line[::-1] for line in lines]))
        else:
            reply = bytearray(data[::-1])
        # Two that are equal would leave the reply right.
        for off in range(2, len(reply) - 2):
            if wrong and reply[off] != reply[off + 1]:
                reply[off : off + 2] = reply[off + 1], reply[off]
                break
        self.transport.write(reply)


async def serve(port: int) -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    context = None
    if CERTIFICATE:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(CERTIFICATE[0])
    server = await loop.create_server(Swapping, "127.0.0.1", port, ssl=context)
    await server.serve_forever()


if __name__ == "__main__":
    FRAMING, *CERTIFICATE = sys.argv[2:]
    asyncio.run(serve(int(sys.argv[1])))
