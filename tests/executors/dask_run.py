"""Scenarios with a Dask cluster, each for a process of its own; see `test_dask_source`."""

import asyncio
import sys

from asyncrev.errors import ExecutorLost
from tests.executors import work
from tests.executors.jobs import answers, asked, engine_of, started
from tests.support import until

FRAMES = [b"frame %d" % number for number in range(100)]
FLIPPED = [frame.swapcase() for frame in FRAMES]


async def local() -> None:
    """A cluster on this machine."""
    async with engine_of("dask", work.flip_again, workers=2) as engine:
        assert await asked(engine, *FRAMES) == FLIPPED
        a, died, b = await asked(engine, b"a", b"die", b"b")
        assert (a, b) == (b"A", b"B")
        assert isinstance(died, ExecutorLost)
        assert engine.statistics().lost == {"died": 1}


async def shrinks(address: str, go: str) -> None:
    """One of two workers dies, and two others come."""
    async with engine_of("dask", work.wait_again, address=address) as engine:
        await until(lambda: engine.statistics().workers, "it is connected")
        jobs = started(engine, *(b"wait %s" % go.encode() for _ in range(4)), *FRAMES)
        await until(lambda: engine.statistics().running, "it has them")
        await asyncio.sleep(0.5)  # so that the workers have begun
        print("running", flush=True)
        got = await answers(jobs)
        assert got[4:] == FLIPPED
        assert {type(answer) for answer in got[:4]} == {bytes}
        assert not engine.statistics().lost

        async def grown() -> None:
            while engine.statistics().workers < 3:
                await asked(engine, *FRAMES)

        await asyncio.wait_for(grown(), 20)


async def scheduler(address: str, go: str) -> None:
    """The scheduler dies, and another one comes to its address."""
    async with engine_of("dask", work.wait_again, address=address) as engine:
        jobs = started(engine, b"wait %s" % go.encode())
        await until(lambda: engine.statistics().running, "it has it")
        print("running", flush=True)
        (answer,) = await answers(jobs)  # by the other one's workers
        assert answer.startswith(b"WAIT")
        assert await asked(engine, *FRAMES) == FLIPPED
        assert (engine.statistics().restarts, engine.statistics().retries) == (1, 1)


if __name__ == "__main__":
    asyncio.run(globals()[sys.argv[1]](*sys.argv[2:]))
    print("as it should be")
