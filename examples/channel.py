"""The ring without sockets: a bounded queue of buffers between a loop and a thread of your own."""

import asyncio
import hashlib
import threading

import asyncrev
from asyncrev.errors import ChannelClosed
from asyncrev.ring.thread_side import ThreadSide


def digest(side: ThreadSide) -> None:
    """Answer every buffer with its SHA-256, until the other side is closed. Runs on a thread."""
    with side:  # closes it, also if something is raised here; ChannelClosed is the regular end
        while True:
            side.put(hashlib.sha256(side.get()).digest())


async def main() -> None:
    """Digest some buffers, in order; `put` waits while all slots are in use."""
    async with asyncrev.Channel(slots=4, slot_bytes=1024) as channel:
        thread = threading.Thread(target=digest, args=(channel.thread_side,))
        thread.start()

        async def feed() -> None:
            for number in range(10):
                await channel.loop_side.put(b"buffer %d" % number)
            channel.loop_side.close()

        feeding = asyncio.create_task(feed())
        try:
            while True:
                print((await channel.loop_side.get()).hex()[:16])
        except ChannelClosed:
            pass
        await feeding
    thread.join()


if __name__ == "__main__":
    asyncrev.run(main())
