"""One turn of one server: under the load generator, or its start."""

import json
import subprocess
from typing import Any

from benchmarks.build import load_generator
from benchmarks.running import Running, ServerFailed
from benchmarks.scenarios import Scenario
from benchmarks.servers import HOST
from benchmarks.summary import digest
from benchmarks.tls import Tls

__all__ = ["GRACE_S", "load_command", "load_result", "turn"]

GRACE_S = 30.0  # for the load generator beyond its time: to connect, and for the last replies


def turn(
    server: Running, scenario: Scenario, seconds: float, warmup_s: float, tls: Tls | None
) -> dict[str, Any]:
    """Return what the load generator saw and what the server noted, or how it started.

    `tls`: what the servers that serve TLS use; for the others it says nothing.

    Raises:
        ServerFailed: there are no figures; says why.
    """
    if not scenario.connections:
        return {
            "start_ms": server.start_ms,
            "start_cpu_ms": server.start_cpu_ms,
            "server_rss_bytes": server.start_rss_bytes,
            "errors": 0,
        }
    command = load_command(server, scenario, seconds, warmup_s, tls)
    timeout_s = seconds + warmup_s + GRACE_S
    server.begin_notes()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise ServerFailed(f"the load was not over after {timeout_s:g} s") from None
    run = load_result(done.stdout, done.stderr, server)
    return {**run, "told": digest(server.end_notes(), run["from_s"], run["to_s"])}


def load_command(
    server: Running, scenario: Scenario, seconds: float, warmup_s: float, tls: Tls | None
) -> list[str]:
    """Return the command line of the load generator."""
    values = {
        "host": HOST,
        "port": server.port,
        "server-pid": server.pid,
        "framing": scenario.framing,
        "connections": scenario.connections,
        "idle": scenario.idle,
        "size": scenario.size_bytes,
        "depth": scenario.depth,
        "seconds": seconds,
        "warmup": warmup_s,
    }
    if scenario.tls:
        assert tls is not None
        values["tls"] = tls.version
    command = [str(load_generator(tls=scenario.tls))]
    for name, value in values.items():
        command += [f"--{name}", str(value)]
    return [*command, "--reconnect"] if scenario.reconnect else command


def load_result(out: str, err: str, server: Running) -> dict[str, Any]:
    """Return what the load generator printed.

    Raises:
        ServerFailed: it printed no figures, because it could not connect, say; has what it said,
            and the server's last words if that has ended.
    """
    try:
        run: dict[str, Any] = json.loads(out)
    except ValueError:
        server.check()
        raise ServerFailed(f"the load broke off: {err.strip()[-400:]}") from None
    return run
