"""The command: run the servers, load them, sample them, and judge.

Exits with 1 if a byte was wrong, resident memory grew, descriptors or threads were left, a sleep
was ended by its backstop, or a server did not end well.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import sys
import time
from collections.abc import Sequence

from tests.process.processors import FLIP
from tests.process.telling import statistics_of, telling
from tests.soak.load import Load
from tests.soak.samples import Sample, table, take_sample, verdict
from tests.support import ServerProcess, ask, until

SAMPLE_EVERY_S = 1.0
QUIESCE_S = 60.0
LONGEST_WAIT_S = 120.0  # for all clients to end after the time is up

# Small, so that all of it is in use soon: memory that grows afterwards is a leak.
SETTINGS = (
    *("--slots", "16", "--slot-bytes", "65536", "--in-flight-bytes", "65536"),
    *("--max-frame-bytes", "131072", "--pool-bytes", "4194304"),
    *("--write-stall-timeout-s", "5"),
)


@dataclasses.dataclass
class Run:
    """One server with its load, and what was seen of it."""

    framing: str
    server: ServerProcess
    load: Load
    before: Sample
    samples: list[Sample]


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the load lasts")
    parser.add_argument("--seed", type=int, default=0, help="of sizes and faults")
    parser.add_argument("--loop", default="epoll", choices=["epoll", "asyncio", "uvloop"])
    parser.add_argument(
        "--processor", default=FLIP[1], help="of the raw server; it must answer complements"
    )
    options = parser.parse_args(arguments)
    # The load's loop is the stock one, so that what is tested does not test itself.
    return asyncio.run(soak(options.minutes, options.seed, options.loop, options.processor))


async def soak(minutes: float, seed: int, loop_name: str, processor: str) -> int:
    """Run for so many minutes; return the exit code."""
    print(f"soak: {minutes:g} minutes, seed {seed}, loop {loop_name}", flush=True)
    stop = asyncio.Event()
    errors: list[str] = []
    with contextlib.ExitStack() as stack:
        runs = []
        for framing in ("raw", "len32"):
            chosen = ("--processor", processor) if framing == "raw" else ()
            arguments = ("--loop", loop_name, "--framing", framing, *chosen, *SETTINGS)
            server = stack.enter_context(telling(*arguments, errors_only=True))
            await warm(server)
            load = Load(server.address, framing, seed, stop)
            runs.append(Run(framing, server, load, take_sample(server, 0.0), []))
        begun_s = time.monotonic()
        loading = asyncio.gather(*(run.load.run() for run in runs))
        while not stop.is_set() and time.monotonic() - begun_s < 60 * minutes:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SAMPLE_EVERY_S):
                    await stop.wait()
            for run in runs:
                at_s = time.monotonic() - begun_s
                run.samples.append(await asyncio.to_thread(take_sample, run.server, at_s))
        stop.set()
        async with asyncio.timeout(LONGEST_WAIT_S):
            await loading
        for run in runs:
            errors += [f"{run.framing}: {error}" for error in await judge(run)]
    for run in runs:
        print("\n".join(["", *table(run.framing, run.samples), *told_of(run.load)]))
    print("\n".join(["", *(f"error: {error}" for error in errors), f"errors: {len(errors)}"]))
    return 1 if errors else 0


async def warm(server: ServerProcess) -> None:
    """Have the server open what it opens at its first client."""

    def one_client() -> None:
        with server.connect() as sock:
            assert len(ask(sock, b"\0\0\0\1x")) == 5

    await asyncio.to_thread(one_client)
    await until(lambda: statistics_of(server)["connections"] == 0, "it is gone")


async def judge(run: Run) -> list[str]:
    """Wait until the server is at rest, end it, and return what is wrong."""
    found = list(run.load.errors)

    def at_rest() -> bool:
        told = statistics_of(run.server)
        bridge = told["bridge"]
        return told["connections"] == 0 and bridge["published"] == bridge["released"]

    try:
        await until(at_rest, "nobody is connected and every entry is released", QUIESCE_S)
    except AssertionError as error:
        found.append(str(error))
    after = take_sample(run.server, run.samples[-1].at_s)
    run.samples.append(dataclasses.replace(run.samples.pop(), aborted=after.aborted))
    found += verdict(run.before, run.samples, after)
    code, stderr = await asyncio.to_thread(run.server.terminate)
    if code != 0 or stderr.strip():
        found.append(f"the server ended with exit code {code}, and told: {stderr[-2000:]!r}")
    return found


def told_of(load: Load) -> list[str]:
    """Return lines about what was done to a server."""
    kinds = ", ".join(f"{name} {count:,}" for name, count in sorted(load.connections.items()))
    faults = ", ".join(f"{name} {count:,}" for name, count in sorted(load.proxy.faults.items()))
    return [
        f"connections: {sum(load.connections.values()):,} ({kinds})",
        f"bytes verified: {load.verified_bytes:,}",
        f"faults injected: {sum(load.proxy.faults.values()):,} ({faults})",
    ]


if __name__ == "__main__":
    sys.exit(main())
