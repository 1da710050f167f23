"""A storm of TLS handshakes beside an established peer: `python -m benchmarks.storm`.

Some clients do nothing but handshakes (and one message each) with a server, and one that was
connected before sends a message of 64 bytes every 5 ms, first alone, then beside them. What is
looked at: that peer's latency, and how late the server's loop is (`LagProbe`).

Servers take turns in random order, and ratios are taken within a round, so what a shared machine
does from minute to minute falls out. The storm's clients run at a lower priority, and the peer asks
for short slices, because with two cores they would keep its own process waiting. Exits with 1 if
a reply was wrong.
"""

import argparse
import contextlib
import ctypes
import dataclasses
import json
import os
import platform
import random
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks import tls
from benchmarks.build import load_generator, native
from benchmarks.running import Running, ServerFailed, running
from benchmarks.scenarios import PING_PONG, Scenario
from benchmarks.servers import HOST, SERVERS, Kind, with_custom
from benchmarks.summary import digest
from benchmarks.tls import Tls
from benchmarks.turns import GRACE_S, load_command, load_result

__all__ = ["FIGURES", "main", "measure", "short_slices", "table"]

DEFAULT_SERVERS = ("asyncrev", "asyncio", "uvloop")
WARMUP_S = 0.3
STORM_NICE = 10
PEER_SLICE_NS = 100_000
SIZE_BYTES = 64
MESSAGE = bytes(range(SIZE_BYTES))
EVERY_S = 0.005

# Of one run: what the peer saw, and how late the loop was, alone and in the storm.
FIGURES = (
    "handshakes_per_s",
    "quiet_p50_us",
    "quiet_p99_us",
    "storm_p50_us",
    "storm_p99_us",
    "quiet_lag_p99_us",
    "storm_lag_p99_us",
)

Rounds = list[dict[str, dict[str, float]]]


def main(arguments: list[str] | None = None) -> int:
    """Run what the arguments ask for; return the exit code."""
    options = _parse(arguments)
    try:
        with tls.made(options.tls, options.key) as used:
            rounds, failures = measure(
                _chosen(options), options.clients, options.rounds, options.seconds, used
            )
    except RuntimeError as error:  # there is no compiler, or no OpenSSL
        print(f"benchmarks: error: {error}", file=sys.stderr)
        return 2
    print(table(rounds))
    if options.json:
        print(json.dumps(rounds))
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if failures else 0


def measure(
    servers: dict[str, Kind], clients: int, rounds: int, seconds: float, used: Tls
) -> tuple[Rounds, list[str]]:
    """Return what each server did in each round, and which runs failed, in words.

    Raises:
        RuntimeError: the C programs cannot be compiled.
    """
    load_generator(tls=True)
    native(tls=True)
    found: Rounds = []
    failures = []
    for _ in range(rounds):
        of_round = {}
        for label in random.sample(list(servers), len(servers)):
            try:
                of_round[label] = _one_run(servers[label], clients, seconds, used)
            except ServerFailed as failure:
                failures.append(f"{label}: {failure}")
        found.append(of_round)
    return found, failures


def table(rounds: Rounds, reference: str = "asyncio") -> str:
    """Return medians and ratios of the rounds as text.

    The ratios: the peer's p99 in the storm to its p99 before, and the loop's lateness in the storm
    to that of `reference` in the same round.
    """
    labels = list(dict.fromkeys(label for of_round in rounds for label in of_round))
    lines = [
        f"{'server':<16} {'shakes/s':>8} {'p50 us':>14} {'p99 us':>14} {'p99 ratio':>18} "
        f"{'lag p99 us':>14} {f'lag / {reference}':>18}"
    ]
    for label in labels:
        runs = [of_round[label] for of_round in rounds if label in of_round]
        median = {name: statistics.median(run[name] for run in runs) for name in FIGURES}
        beside = [run["storm_p99_us"] / run["quiet_p99_us"] for run in runs]
        lag = [
            of_round[label]["storm_lag_p99_us"] / of_round[reference]["storm_lag_p99_us"]
            for of_round in rounds
            if label in of_round and reference in of_round
        ]
        lines.append(
            f"{label:<16} {median['handshakes_per_s']:>8.0f} {_pair(median, 'p50_us')} "
            f"{_pair(median, 'p99_us')} {_spread(beside)} {_pair(median, 'lag_p99_us')} "
            f"{_spread(lag)}"
        )
    return "\n".join(lines)


def _pair(median: dict[str, float], name: str) -> str:
    return f"{median[f'quiet_{name}']:>6.0f} {median[f'storm_{name}']:>7.0f}"


def _spread(values: list[float]) -> str:
    if not values:
        return f"{'':>18}"
    return f"{statistics.median(values):>5.2f} ({min(values):.2f}-{max(values):.2f})".rjust(18)


def _one_run(kind: Kind, clients: int, seconds: float, used: Tls) -> dict[str, float]:
    scenario = Scenario(
        title="storm",
        headline=PING_PONG,
        connections=clients,
        size_bytes=SIZE_BYTES,
        reconnect=True,
        tls=True,
    )
    with running(kind, scenario, used) as server, _connected(server.port) as peer:
        server.begin_notes()
        with short_slices():
            quiet = _exchange(peer, seconds)
        with _storm(server, scenario, seconds + 2 * WARMUP_S, used) as storm, short_slices():
            stormy = _exchange(peer, seconds)
        looks = server.end_notes()
    figures = {"handshakes_per_s": storm[0]["messages_per_s"]}
    for name, run in (("quiet", quiet), ("storm", stormy)):
        told = digest(looks, run["from_s"], run["to_s"])
        figures |= {f"{name}_{part}": run[part] for part in ("p50_us", "p99_us")}
        figures[f"{name}_lag_p99_us"] = told.get("loop_lag_p99_us", float("nan"))
    return figures


@contextlib.contextmanager
def short_slices(slice_ns: int = PEER_SLICE_NS) -> Iterator[bool]:
    """Let this thread run at once when it wakes, whoever runs; yield whether the kernel can.

    Since Linux 6.6 a thread that runs keeps its core for its slice, of 3 ms or more, whatever the
    nice value of one that wakes, unless that has asked for a shorter one (sched_setattr(2), since
    Linux 6.12). So much the peer would wait for the storm's clients, and not for the server.
    Processes that are started meanwhile inherit it.
    """
    try:
        yield _set_slice(slice_ns)
    finally:
        _set_slice(0)  # the kernel's own


def _set_slice(slice_ns: int) -> bool:
    number = {"x86_64": 314, "aarch64": 274}.get(platform.machine())
    if number is None or sys.platform != "linux":
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    # struct sched_attr: size, policy (SCHED_OTHER), flags, nice, priority, slice (as runtime), ...
    attributes = struct.pack("=IIQiIQQQ", 48, 0, 0, nice, 0, slice_ns, 0, 0)
    return not ctypes.CDLL(None).syscall(number, 0, attributes, 0)


@contextlib.contextmanager
def _connected(port: int) -> Iterator[ssl.SSLSocket]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection((HOST, port), GRACE_S)
    with plain, context.wrap_socket(plain) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield peer


def _exchange(peer: ssl.SSLSocket, seconds: float) -> dict[str, float]:
    """Return what `peer` sees that sends a message every `EVERY_S`, answered or not.

    A message that could not be sent in time, because the reply before was late, counts from when it
    was due. So a stall counts for as long as it takes, and not as one slow message of many quick
    ones. That this process is late itself does not count.
    """
    latencies_us = []
    due_s = start_s = time.monotonic()
    while due_s < start_s + WARMUP_S + seconds:
        due_s += EVERY_S
        wait_s = due_s - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        sent_s = time.monotonic() if wait_s > 0 else due_s
        _ask(peer)
        if due_s >= start_s + WARMUP_S:
            latencies_us.append(1e6 * (time.monotonic() - sent_s))
    latencies_us.sort()
    return {
        "from_s": start_s + WARMUP_S,
        "to_s": time.monotonic(),
        "p50_us": latencies_us[len(latencies_us) // 2],
        "p99_us": latencies_us[min(len(latencies_us) - 1, int(0.99 * len(latencies_us)))],
    }


def _ask(peer: ssl.SSLSocket) -> None:
    reply = b""
    try:
        peer.sendall(MESSAGE)
        while len(reply) < SIZE_BYTES and (part := peer.recv(SIZE_BYTES)):
            reply += part
    except OSError as error:
        raise ServerFailed(f"the established peer: {error}") from None
    if reply != MESSAGE[::-1]:
        raise ServerFailed("wrong replies to the established peer, or none")


@contextlib.contextmanager
def _storm(
    server: Running, scenario: Scenario, seconds: float, used: Tls
) -> Iterator[list[dict[str, Any]]]:
    """Run the storm beside the block; the list has what its clients saw after it."""
    load = load_command(server, scenario, seconds, WARMUP_S, used)
    storm = subprocess.Popen(
        ["nice", "-n", str(STORM_NICE), *load],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    found: list[dict[str, Any]] = []
    try:
        yield found
        try:
            out, err = storm.communicate(timeout=seconds + GRACE_S)
        except subprocess.TimeoutExpired:
            raise ServerFailed("the storm was not over in time") from None
        found.append(load_result(out, err, server))
        if found[0]["errors"]:
            raise ServerFailed(f"{found[0]['errors']} wrong replies: {err.strip()[-400:]}")
    finally:
        storm.kill()
        storm.communicate()


def _chosen(options: argparse.Namespace) -> dict[str, Kind]:
    servers = {label: SERVERS[label] for label in options.servers}
    ours = SERVERS["asyncrev"]
    for most in options.limits:
        limited = (*ours.tls_command, "--tls-handshakes-in-flight", str(most))
        servers[f"asyncrev-{most}"] = dataclasses.replace(ours, tls_command=limited)
    servers |= options.added
    return {label: kind for label, kind in servers.items() if not kind.missing()}


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storm", description=__doc__)
    add = parser.add_argument
    add("--clients", type=int, default=50, help="that do handshakes, at a time (50)")
    add("--servers", type=_split, default=DEFAULT_SERVERS, metavar="A,B", help=f"of {_names()}")
    add("--limits", type=_numbers, default=(), metavar="N,M", help="asyncrev with these, too")
    add("--server", action="append", default=[], metavar="NAME=COMMAND", help="see benchmarks.run")
    add("--tls", default="1.3", choices=tls.VERSIONS)
    add("--key", choices=list(tls.KEYS), default="ecdsa", help="of the certificate")
    add("--rounds", type=int, default=7)
    add("--seconds", type=float, default=2.0, help="alone, and again in the storm")
    add("--json", action="store_true", help="print all figures of all rounds, too")
    options = parser.parse_args(arguments)
    unknown = [label for label in options.servers if label not in _over_tls()]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; there are {_names()}")
    try:
        options.added = with_custom({}, options.server)
    except ValueError as error:
        parser.error(f"--server {error}")
    for label, kind in options.added.items():
        if not kind.tls_command:
            parser.error(f"--server {label}: the command must have {{certificate}} in it")
    return options


def _over_tls() -> list[str]:
    return [label for label, kind in SERVERS.items() if kind.tls_command]


def _names() -> str:
    return ", ".join(_over_tls())


def _split(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in _split(text))


if __name__ == "__main__":
    sys.exit(main())
