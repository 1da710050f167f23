"""What each place for the work costs: the figures of docs/choose.md.

    nice -n -20 python -m benchmarks.choices [--rounds 5] [--seconds 1.5] [--only worker,workers]

Each choice serves `len32` frames with the same function, and `asyncrev bench` loads it and verifies
every reply; choices take turns in random order. *light* returns the frame; *heavy* takes 1 ms of
CPU time in Python first. CPU time is that of all processes of a server, user and system; so is
memory, where pages that several processes share count once in all. Memory is measured after the
load, in which each of 50 connections has 64-byte frames.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.executor_work import work_1_0

__all__ = ["heavy", "light", "light_later"]


def light(frame: bytes) -> bytes:
    """Return the frame."""
    return frame


light.idempotent = True  # type: ignore[attr-defined]  # asked by Dask


async def light_later(frame: bytes) -> bytes:
    """Return the frame, as a coroutine function."""
    return frame


heavy = work_1_0

_EXECUTOR = ("--executor-workers", "2", "--executor")
# Options, and the functions for light and heavy work. A coroutine does not compute.
CHOICES: dict[str, tuple[tuple[str, ...], str, str | None]] = {
    "loop": ((), "light", "heavy"),
    "worker": ((), "light", "heavy"),
    "threads": (("--threads", "2"), "light", "heavy"),
    "coroutines": ((), "light_later", None),
    "executor threads": ((*_EXECUTOR, "threads"), "light", "heavy"),
    "executor processes": ((*_EXECUTOR, "processes"), "light", "heavy"),
    "executor dask": ((*_EXECUTOR, "dask"), "light", "heavy"),
    "workers": (("--workers", "2"), "light", "heavy"),
}

HOST = "127.0.0.1"
START_S = 60.0


class _Server:
    """A server, with all processes that it has started."""

    def __init__(self, choice: str, function: str) -> None:
        options, _, _ = CHOICES[choice]
        command = [sys.executable, "-m", "benchmarks.choices", "--serve-in-loop", function]
        if choice != "loop":
            command = [sys.executable, "-m", "asyncrev", "serve", "--port", "0", *options]
            command += ["--framing", "len32", "--processor", f"benchmarks.choices:{function}"]
        self._name = choice
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, bufsize=0)
        self.address = self._address()

    def _address(self) -> str:
        assert self._process.stderr is not None
        end_s = time.monotonic() + START_S
        while select.select([self._process.stderr], [], [], end_s - time.monotonic())[0]:
            line = self._process.stderr.readline().decode()
            if "serving on " in line:
                return line.partition("serving on ")[2].split()[0]
            if not line:
                break
        raise SystemExit(f"the server of {self._name!r} did not start")

    def _pids(self) -> list[int]:
        found = [self._process.pid]
        for pid in found:  # grows
            with contextlib.suppress(OSError):
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as children:
                        found += [int(child) for child in children.read().split()]
        return found

    def cpu_s(self) -> float:
        """Return the CPU time of all its processes."""
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in self._pids())

    def memory_bytes(self) -> int:
        """Return the memory of all its processes, with shared pages once."""
        total = 0
        for pid in self._pids():
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                total += next(int(row.split()[1]) for row in file if row.startswith("Pss:"))
        return total * 1024

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.communicate(timeout=30)


def load(server: _Server, *options: str, seconds: float) -> dict[str, float]:
    """Load a server; return CPU time per frame, frames per second and latencies."""
    command = [sys.executable, "-m", "asyncrev", "bench", server.address, "--framing", "len32"]
    command += ["--expect", "echo", "--json", "-", "--warmup", "0.3", *options]
    began_s = server.cpu_s()
    done = subprocess.run(
        [*command, "-z", f"{seconds}s"], capture_output=True, text=True, check=False, timeout=120
    )
    cpu_s = server.cpu_s() - began_s
    if done.returncode not in (0, 5):  # 5: the client had more to do than the server
        raise SystemExit(f"asyncrev bench ended with code {done.returncode}: {done.stderr}")
    found = json.loads(done.stdout)
    # The warm-up is in the CPU time too.
    frames = found["messages_per_s"] * (found["duration_s"] + 0.3)
    return {
        "cpu_us": cpu_s / frames * 1e6,
        "frames_per_s": found["messages_per_s"],
        "p50_us": found["latency_us"]["p50"],
        "p99_us": found["latency_us"]["p99"],
    }


@contextlib.contextmanager
def serving(names: list[str], is_heavy: bool) -> Iterator[dict[str, _Server]]:
    """Start the servers of all choices that do such work."""
    servers = {}
    try:
        for name in names:
            function = CHOICES[name][2 if is_heavy else 1]
            if function is not None:
                servers[name] = _Server(name, function)
        yield servers
    finally:
        for server in servers.values():
            server.close()


def measure(names: list[str], rounds: int, seconds: float) -> None:
    """Measure, and print medians."""
    figures: dict[tuple[str, str], list[float]] = {}

    def note(name: str, column: str, value: float) -> None:
        figures.setdefault((name, column), []).append(value)

    with serving(names, is_heavy=False) as servers:
        for _ in range(rounds):
            for name in random.sample(list(servers), len(servers)):
                many = load(servers[name], "-c", "50", seconds=seconds)
                note(name, "CPU us, 50 x 1", many["cpu_us"])
                deep = load(servers[name], "-c", "16", "-P", "32", seconds=seconds)
                note(name, "CPU us, 16 x 32", deep["cpu_us"])
                one = load(servers[name], "-c", "1", seconds=seconds)
                note(name, "p50 us, 1 x 1", one["p50_us"])
                note(name, "p99 us, 1 x 1", one["p99_us"])
        for name, server in servers.items():
            note(name, "MiB", server.memory_bytes() / (1 << 20))
    with serving(names, is_heavy=True) as servers:
        for _ in range(rounds):
            for name in random.sample(list(servers), len(servers)):
                many = load(servers[name], "-c", "50", seconds=seconds)
                note(name, "heavy/s", many["frames_per_s"])
                note(name, "heavy p99 ms", many["p99_us"] / 1e3)
    columns = list(dict.fromkeys(column for _, column in figures))
    print(f"{'':20}" + "".join(f"{column:>17}" for column in columns))
    for name in names:
        row = [figures.get((name, column)) for column in columns]
        cells = ["-" if found is None else f"{statistics.median(found):,.1f}" for found in row]
        print(f"{name:20}" + "".join(f"{cell:>17}" for cell in cells))


def serve_in_loop(function: str) -> None:
    """Serve with asyncio's streams and the work in the event loop, for comparison."""
    work = {"light": light, "heavy": heavy}[function]

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(4)
                reply = work(await reader.readexactly(int.from_bytes(head, "big")))
                writer.write(len(reply).to_bytes(4, "big") + reply)
                await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(handle, HOST, 0)
        port = server.sockets[0].getsockname()[1]
        print(f"serving on {HOST}:{port}", file=sys.stderr, flush=True)
        async with server:
            await server.serve_forever()

    asyncio.run(main())


def main() -> None:
    """Do what the options say."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--only", default=",".join(CHOICES), metavar="NAME,...")
    parser.add_argument("--serve-in-loop", choices=("light", "heavy"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve_in_loop:
        serve_in_loop(args.serve_in_loop)
        return
    names = args.only.split(",")
    unknown = [name for name in names if name not in CHOICES]
    if unknown:
        parser.error(f"{', '.join(unknown)}: choose from {', '.join(CHOICES)}")
    measure(names, args.rounds, args.seconds)


if __name__ == "__main__":
    main()
