"""What all peers need: a loop of the kind asked for, and an end at SIGTERM."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

from benchmarks.lag import LagProbe, obey_runner

__all__ = ["BACKLOG", "CHUNK_BYTES", "HOST", "run"]

HOST = "127.0.0.1"
BACKLOG = 1024  # as asyncrev has it; asyncio's 100 would make many connections at once wait
CHUNK_BYTES = 256 * 1024  # also the most of one receive


def run(make_server: Callable[[], Awaitable[asyncio.Server]], loop_name: str) -> None:
    """Serve until SIGTERM on an "asyncio", "uvloop" or "aiofastnet" loop."""
    with asyncio.Runner(loop_factory=_loop_factory(loop_name)) as runner:
        runner.run(_serve(make_server))


async def _serve(make_server: Callable[[], Awaitable[asyncio.Server]]) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await make_server()
    obey_runner(LagProbe(loop), loop)
    await stop.wait()
    server.close()


def _loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "uvloop":
        import uvloop

        return uvloop.new_event_loop
    if name == "aiofastnet":
        import aiofastnet

        return aiofastnet.loop_factory()
    return asyncio.SelectorEventLoop
