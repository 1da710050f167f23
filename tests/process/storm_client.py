"""A client as a process, to be stopped and continued: `python -m tests.process.storm_client PORT`.

Exits with 0 if everything it sent was answered rightly.
"""

import asyncio
import sys

from asyncrev.testing.history import History
from tests.soak.clients import connected, pipelined
from tests.support import DEADLINE_S, flipped


async def main(port: int, connection_id: int, messages: int) -> None:
    """Send so many messages of 20,000 bytes."""
    history = History(connection_id, flipped)
    async with connected(("127.0.0.1", port)) as sock:
        # While it is stopped, so is its clock not.
        await pipelined(history, sock, [20_000] * messages, deadline_s=6 * DEADLINE_S)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
