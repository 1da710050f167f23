"""A line protocol with state per connection, and state that all share without a lock.

asyncrev serve --framing line --processor examples.line_service:Counters
nc 127.0.0.1 9090
"""

import asyncio
from collections import Counter

import asyncrev

# Touched by processors only. They all run on the one worker thread (`threads=1`, the default), a
# line at a time, so nothing is between reading a value and writing it.
totals: Counter[str] = Counter()
MOST_NAMES = 1000  # names are peers' input, so their number needs a bound


class Counters:
    """Commands: `add NAME NUMBER`, `get NAME`, `mine`. One object per connection."""

    def __init__(self) -> None:
        self.commands = 0

    def process(self, line: memoryview) -> bytes:
        """Return the answer to one line; both are without their line ends."""
        self.commands += 1
        match bytes(line).decode(errors="replace").split():
            case ["add", name, _] if name not in totals and len(totals) >= MOST_NAMES:
                return b"error: %d names are in use, and no more are taken" % MOST_NAMES
            case ["add", name, number] if number.isdecimal():
                totals[name] += int(number)
                return b"ok"
            case ["get", name]:
                return b"%d" % totals[name]
            case ["mine"]:
                return b"%d commands" % self.commands
        return b"error: write add NAME NUMBER, get NAME, or mine"

    def eof(self) -> None:
        """Add nothing: the peer knows that it has finished."""


async def talk(port: int, *commands: bytes) -> list[str]:
    """Send all commands at once, as a script would; return the answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"".join(command + b"\n" for command in commands))
    writer.write_eof()
    answers = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answers.decode().splitlines()


async def main() -> None:
    """Let two clients count the same thing, one after the other."""
    limits = asyncrev.Limits(max_frame_bytes=4096, idle_timeout_s=60)
    async with await asyncrev.serve(
        "127.0.0.1", 0, processor=Counters, framing="line", limits=limits
    ) as server:
        print(await talk(server.port, b"add apples 3", b"add apples 4", b"mine"))
        print(await talk(server.port, b"get apples", b"add pears", b"mine"))
        await server.drain()


if __name__ == "__main__":
    asyncrev.run(main())
