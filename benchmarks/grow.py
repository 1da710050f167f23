"""One process, two, and two workers, direct and behind HAProxy (docs/howto/grow.md).

Lines of 64 bytes in ping-pong, every byte of every reply verified by the load generator. Layouts
take turns in random order, and ratios are taken within a round, so what a shared machine does from
minute to minute falls out. The processors: `light` is the server's own, `heavy` holds the GIL for
0.2 ms per line. Clients and HAProxy share the cores with the servers. Exits with 1 if a reply was
wrong.
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.build import load_generator
from benchmarks.machine import ROOT

__all__ = ["LAYOUTS", "RATIOS", "WORK", "main", "table"]

HOST = "127.0.0.1"
SIZE_BYTES = 64
WORK = {"light": "asyncrev:Reverse", "heavy": "benchmarks.processors:Heavy"}

# Where the clients of a layout connect to: names of ports.
LAYOUTS = {
    "one": ("first",),
    "two": ("first", "second"),
    "workers": ("workers",),
    "haproxy-one": ("haproxy-one",),
    "haproxy-two": ("haproxy-two",),
}
# What is divided by what.
RATIOS = (
    ("two", "one"),
    ("workers", "one"),
    ("workers", "two"),
    ("haproxy-one", "one"),
    ("haproxy-two", "two"),
    ("haproxy-two", "haproxy-one"),
)
Result = dict[str, float]


def main(arguments: list[str] | None = None) -> int:
    """Measure what the arguments ask for, print it; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--work", choices=[*WORK], action="append")
    parser.add_argument("--json", type=Path, help="write all rounds there")
    options = parser.parse_args(arguments)
    if shutil.which("haproxy") is None:
        parser.error("there is no haproxy here (on Debian: apt-get install haproxy)")
    found = {}
    for work in options.work or [*WORK]:
        with _cluster(work) as (ports, balancers):
            found[work] = _rounds(options, ports, balancers)
        print(table(work, found[work]))
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1), encoding="ascii")
    return 0


def table(work: str, rounds: list[dict[str, Result]]) -> str:
    """Return the figures of all rounds as a table in Markdown."""
    lines = [
        f"{work}, {len(rounds)} rounds",
        "",
        "| layout | messages/s | p50 us | p99 us | HAProxy, us of CPU a message |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in LAYOUTS:
        cells = [
            statistics.median(each[name][figure] for each in rounds)
            for figure in ("per_s", "p50_us", "p99_us", "balancer_us")
        ]
        lines.append(f"| {name} | " + " | ".join(f"{cell:,.1f}" for cell in cells) + " |")
    for above, below in RATIOS:
        ratios = sorted(each[above]["per_s"] / each[below]["per_s"] for each in rounds)
        lines.append(
            f"{above} / {below}: {statistics.median(ratios):.2f} "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )
    return "\n".join([*lines, ""])


def _rounds(
    options: argparse.Namespace, ports: dict[str, int], balancers: dict[str, int]
) -> list[dict[str, Result]]:
    rounds = []
    for _ in range(options.rounds):
        order = random.sample([*LAYOUTS], len(LAYOUTS))
        rounds.append({name: _load(name, options, ports, balancers) for name in order})
    return rounds


def _load(
    layout: str, options: argparse.Namespace, ports: dict[str, int], balancers: dict[str, int]
) -> Result:
    """Load one layout; several ports get equal shares of the connections at the same time."""
    where = LAYOUTS[layout]
    command = [
        *(str(load_generator(tls=False)), "--framing", "line", "--size", str(SIZE_BYTES)),
        *("--depth", "1", "--connections", str(options.connections // len(where))),
        *("--seconds", str(options.seconds), "--warmup", "0.3"),
    ]
    if layout in balancers:  # then its CPU time is what is reported as the server's
        command += ["--server-pid", str(balancers[layout])]
    loads = [
        subprocess.Popen([*command, "--port", str(ports[name])], stdout=subprocess.PIPE, text=True)
        for name in where
    ]
    printed = [load.communicate(timeout=options.seconds + 30)[0] for load in loads]
    if any(load.returncode for load in loads):
        sys.exit(f"{layout}: a reply was wrong, or did not come: {printed}")
    results: list[dict[str, Any]] = [json.loads(text) for text in printed]
    assert {result["verified"] for result in results} == {"every byte"}
    return {
        "per_s": sum(result["messages_per_s"] for result in results),
        "p50_us": statistics.mean(result["p50_us"] for result in results),
        "p99_us": max(result["p99_us"] for result in results),
        "balancer_us": results[0]["cpu_us_per_message"] if layout in balancers else 0.0,
    }


@contextlib.contextmanager
def _cluster(work: str) -> Iterator[tuple[dict[str, int], dict[str, int]]]:
    """Run two servers, one with two workers, and HAProxy for one server and for both.

    Give ports and HAProxy's process ids.
    """
    with contextlib.ExitStack() as stack:
        cores = sorted(os.sched_getaffinity(0))
        ports = {
            "first": stack.enter_context(_server(work, "--cpu", str(cores[0]))),
            "second": stack.enter_context(_server(work, "--cpu", str(cores[-1]))),
            "workers": stack.enter_context(_server(work, "--workers", "2")),
        }
        balancers = {}
        for layout, names in (("haproxy-one", ["first"]), ("haproxy-two", ["first", "second"])):
            targets = [ports[name] for name in names]
            ports[layout], balancers[layout] = stack.enter_context(_balancer(targets))
        yield ports, balancers


@contextlib.contextmanager
def _server(work: str, *options: str) -> Iterator[int]:
    command = [sys.executable, "-m", "asyncrev", "serve", "--port", "0", "--framing", "line"]
    command += ["--processor", WORK[work], *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            port = re.search(r"serving on [0-9.]+:(\d+)", line)
            if port is None:
                sys.exit(f"a server did not start: {line}{process.stderr.read()}")
            yield int(port[1])
        finally:
            process.kill()


@contextlib.contextmanager
def _balancer(targets: list[int]) -> Iterator[tuple[int, int]]:
    """Run HAProxy as the shipped configuration has it, without log, checks and PROXY headers."""
    with (
        tempfile.TemporaryDirectory() as directory,
        socket.create_server((HOST, 0), backlog=1024) as listener,
    ):
        config = Path(directory) / "haproxy.cfg"
        servers = [f" server s{port} {HOST}:{port}\n" for port in targets]
        config.write_text(
            "defaults\n mode tcp\n timeout connect 2s\n timeout client 6m\n timeout server 6m\n"
            f"listen rev\n bind fd@{listener.fileno()}\n balance leastconn\n{''.join(servers)}",
            encoding="ascii",
        )
        command = ["haproxy", "-db", "-f", str(config)]
        with subprocess.Popen(command, pass_fds=[listener.fileno()]) as process:
            try:
                yield listener.getsockname()[1], process.pid
            finally:
                process.kill()


if __name__ == "__main__":
    sys.exit(main())
