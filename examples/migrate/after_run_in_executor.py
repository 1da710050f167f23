"""A call in a pool per line; order and bounds are kept."""

import asyncrev
from asyncrev.executors.settings import ExecutorSettings

from signing import sign


async def main():
    server = await asyncrev.serve(
        "127.0.0.1",
        0,
        processor=sign,
        framing="line",
        executor="threads",  # or "processes"
        executor_settings=ExecutorSettings(workers=2),
    )
    print(server.port, flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":  # worker processes import this
    asyncrev.run(main())
