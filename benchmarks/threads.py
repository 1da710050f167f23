"""What a second worker thread gives: `python -m benchmarks.threads`.

For work that releases the GIL, and for work in Python, which gains only where there is no GIL.

Servers with one and with two threads take turns; clients send len32 frames of random bytes over a
few connections and check every reply. Prints the medians, and the ratio of the rounds.
"""

import argparse
import hashlib
import os
import socket
import statistics
import sys
import threading
import time
import zlib
from collections.abc import Callable

from benchmarks.running import cpu_s, running
from benchmarks.scenarios import Scenario
from benchmarks.servers import HOST, Kind

__all__ = ["WORK", "compress", "digest", "fletcher", "main"]

PAYLOAD_BYTES = 256 * 1024
PREFIX_BYTES = 4


def digest(payload: bytes) -> bytes:
    """Return the SHA-256 of a frame."""
    return hashlib.sha256(payload).digest()


def compress(payload: bytes) -> bytes:
    """Return a frame compressed; of random bytes, so it does not get shorter."""
    return zlib.compress(payload, 1)


def fletcher(payload: bytes) -> bytes:
    """Return Fletcher's checksum of a frame, computed in Python, byte by byte (RFC 1146)."""
    first = second = 0
    for byte in payload:
        first = (first + byte) % 255
        second = (second + first) % 255
    return bytes((first, second))


WORK: dict[str, Callable[[bytes], bytes]] = {
    "digest": digest,
    "compress": compress,
    "fletcher": fletcher,
}


def main(arguments: list[str] | None = None) -> int:
    """Run what the arguments ask for; return 1 if a reply was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.threads", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--connections", type=int, default=4)
    options = parser.parse_args(arguments)
    wrong = 0
    for name, work in WORK.items():
        rates: dict[int, list[float]] = {1: [], 2: []}
        cores: dict[int, list[float]] = {1: [], 2: []}
        for number in range(options.rounds):
            for threads in (1, 2) if number % 2 else (2, 1):
                rate, used_cores, errors = _one_run(name, work, threads, options)
                rates[threads].append(rate)
                cores[threads].append(used_cores)
                wrong += errors
        ratio = statistics.median(two / one for one, two in zip(*rates.values(), strict=True))
        for threads, of_threads in rates.items():
            print(
                f"{name}, {threads} thread{'s' * (threads > 1)}: "
                f"{statistics.median(of_threads):,.0f} frames of {PAYLOAD_BYTES // 1024} KiB a "
                f"second, {statistics.median(cores[threads]):.2f} cores used by the server"
            )
        print(f"{name}: two threads do {ratio:.2f} times the work of one")
    if wrong:
        print(f"{wrong} wrong replies", file=sys.stderr)
    return 1 if wrong else 0


def _one_run(
    name: str, work: Callable[[bytes], bytes], threads: int, options: argparse.Namespace
) -> tuple[float, float, int]:
    """Return frames a second, cores that the server used, and wrong replies."""
    command = (
        *(sys.executable, "-m", "asyncrev", "serve", "--port", "{port}", "--framing", "len32"),
        *("--threads", str(threads), "--processor", f"benchmarks.threads:{name}"),
    )
    scenario = Scenario(
        title=name,
        headline="messages_per_s",
        framing="len32",
        connections=options.connections,
        size_bytes=PAYLOAD_BYTES,
    )
    with running(Kind(command=command, framings=("len32",)), scenario) as server:
        counts = [0] * options.connections
        errors = [0] * options.connections
        payloads = [os.urandom(PAYLOAD_BYTES) for _ in counts]
        replies = [work(payload) for payload in payloads]
        end_s = time.monotonic() + options.seconds

        def talk(number: int) -> None:
            """Send one frame after another, at least one."""
            payload, wanted = payloads[number], replies[number]
            frame = len(payload).to_bytes(PREFIX_BYTES, "big") + payload
            with socket.create_connection((HOST, server.port), 10) as sock:
                stream = sock.makefile("rb")
                while not counts[number] or time.monotonic() < end_s:
                    sock.sendall(frame)
                    reply_bytes = int.from_bytes(stream.read(PREFIX_BYTES), "big")
                    errors[number] += stream.read(reply_bytes) != wanted
                    counts[number] += 1

        before_s = cpu_s(server.pid)
        talks = [threading.Thread(target=talk, args=(n,)) for n in range(options.connections)]
        for thread in talks:
            thread.start()
        for thread in talks:
            thread.join()
        used_s = cpu_s(server.pid) - before_s
    return sum(counts) / options.seconds, used_s / options.seconds, sum(errors)


if __name__ == "__main__":
    sys.exit(main())
