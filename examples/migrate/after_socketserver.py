"""Two threads for all connections."""

import asyncrev

from signing import sign


class Handler:
    def __init__(self):
        self.lines = 0  # of this connection

    def process(self, line):
        self.lines += 1
        return b"%d " % self.lines + sign(line)

    def eof(self):
        return None  # nothing to add


async def main():
    server = await asyncrev.serve(
        "127.0.0.1",
        0,
        processor=Handler,
        framing="line",
        threads=2,
    )
    print(server.port, flush=True)
    async with server:
        await server.serve_forever()


asyncrev.run(main())
