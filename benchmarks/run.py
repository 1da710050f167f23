"""Runs servers in turns under the load generator: `python -m benchmarks.run [--full] [--tls]`.

Exits with 1 if a reply was wrong or a server failed, after everything has been run and told.
"""

import argparse
import contextlib
import dataclasses
import datetime
import importlib.util
import json
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import machine, report, tls
from benchmarks.build import load_generator, native
from benchmarks.scenarios import SCENARIOS, TLS_SCENARIOS, Scenario
from benchmarks.servers import HOST, SERVERS, TLS_SERVERS, Kind, ServerFailed, custom, running
from benchmarks.summary import SCHEMA_VERSION, Runs, digest, summarise
from benchmarks.tls import Tls

__all__ = ["main", "measure"]

QUICK_SCENARIOS = ("small50", "bulk4", "latency", "len32", "line")
QUICK_SERVERS = (
    "native",
    "asyncrev",
    "uvloop",
    "janus",
    "executor",
    "by-hand-uvloop",
    "streams-asyncio",
)
QUICK_ROUNDS, QUICK_SECONDS = 3, 1.0
FULL_ROUNDS, FULL_SECONDS = 5, 2.0
TLS_QUICK_SCENARIOS = ("small50", "small500", "bulk4", "latency", "handshakes")
TLS_QUICK_SERVERS = ("native", "asyncrev", "asyncio", "uvloop", "aiofastnet")
# Shorter and more: handshakes and ciphers keep both cores busy, so one round says little.
TLS_QUICK_ROUNDS, TLS_QUICK_SECONDS = 7, 0.5
TLS_FULL_ROUNDS, TLS_FULL_SECONDS = 15, 1.0
WARMUP_S = 0.3
GRACE_S = 30.0  # for the load generator beyond its time: to connect, and for the last replies


def main(arguments: list[str] | None = None) -> int:
    """Run what the arguments ask for; return the exit code."""
    options = _parse(arguments)
    servers = _chosen_servers(options)
    scenarios = {name: TLS_SCENARIOS[name] for name in options.scenarios}
    try:
        with contextlib.ExitStack() as stack:
            used = stack.enter_context(tls.made(options.tls, options.key)) if options.tls else None
            results = measure(
                scenarios,
                servers,
                options.rounds,
                options.seconds,
                used,
                reference=options.reference,
                progress=not options.quiet,
            )
    except RuntimeError as error:  # there is no compiler, or no OpenSSL
        print(f"benchmarks: error: {error}", file=sys.stderr)
        return 2
    print(report.text(results))
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if options.markdown is not None:
        figures = report.markdown(results)
        report.put_between_markers(options.markdown, report.FIGURES, figures)
    if options.plot is not None:
        from benchmarks import plots

        plots.draw(results, options.plot)
    bad = [
        f"{name} {label}"
        for name, scenario in results["scenarios"].items()
        for label, server in scenario["servers"].items()
        if server["errors"] or server["failures"]
    ]
    if bad:
        print(f"\nwrong replies or failed runs: {', '.join(bad)}", file=sys.stderr)
    return 1 if bad else 0


def measure(
    scenarios: dict[str, Scenario],
    servers: dict[str, Kind],
    rounds: int,
    seconds: float,
    used_tls: Tls | None = None,
    *,
    reference: str | None = None,
    warmup_s: float = WARMUP_S,
    progress: bool = True,
) -> dict[str, Any]:
    """Run every server in every scenario, `rounds` times, in turns; return all that was seen.

    `used_tls`: over TLS, with servers of `TLS_SERVERS`. `reference`: the server that the others are
    compared with; by default the first of `REFERENCES` that takes part.

    Raises:
        RuntimeError: the C programs cannot be compiled.
    """
    load_generator(tls=used_tls is not None)
    native(tls=used_tls is not None)
    _raise_descriptor_limit()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    start_s = time.monotonic()
    described = machine.describe()
    runs: dict[str, dict[str, Runs]] = {name: {} for name in scenarios}
    failures: dict[str, dict[str, list[str]]] = {name: {} for name in scenarios}
    for number in range(rounds):
        for name, scenario in scenarios.items():
            able = [label for label, kind in servers.items() if scenario.framing in kind.framings]
            for label in random.sample(able, len(able)):  # so that none always follows the same
                runs[name].setdefault(label, [])
                try:
                    run = _one_run(servers[label], scenario, seconds, warmup_s, used_tls)
                except ServerFailed as failure:
                    failures[name].setdefault(label, []).append(str(failure))
                    figure = f"FAILED: {failure}"
                else:
                    runs[name][label].append({"round": number, **run})
                    figure = f"{run[scenario.headline]:,.0f} {scenario.headline}"
                if progress:
                    print(f"round {number + 1} {name} {label}: {figure}", file=sys.stderr)
    return {
        "schema_version": SCHEMA_VERSION,
        "closed_loop": True,
        "started": started,
        "elapsed_s": round(time.monotonic() - start_s, 1),
        "machine": described,
        "settings": {"rounds": rounds, "seconds": seconds, "warmup_s": warmup_s},
        "tls": None if used_tls is None else {"version": used_tls.version, "key": used_tls.key},
        "scenarios": {
            name: summarise(
                scenario,
                {label: runs[name][label] for label in servers if label in runs[name]},
                failures[name],
                reference,
            )
            for name, scenario in scenarios.items()
        },
    }


def _one_run(
    kind: Kind, scenario: Scenario, seconds: float, warmup_s: float, used_tls: Tls | None
) -> dict[str, Any]:
    with running(kind, scenario, used_tls) as server:
        loads = {
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
        if used_tls is not None:
            loads["tls"] = used_tls.version
        command = [str(load_generator(tls=used_tls is not None))]
        for name, value in loads.items():
            command += [f"--{name}", str(value)]
        if scenario.reconnect:
            command.append("--reconnect")
        timeout_s = seconds + warmup_s + GRACE_S
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            raise ServerFailed(f"the load was not over after {timeout_s:g} s") from None
        try:
            run: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            raise ServerFailed(f"the load broke off: {done.stderr.strip()[-400:]}") from None
    return {**run, "told": digest(server.looks, run["from_s"], run["to_s"])}


def _raise_descriptor_limit() -> None:
    """Allow as many descriptors as we may; the servers inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _chosen_servers(options: argparse.Namespace) -> dict[str, Kind]:
    known = TLS_SERVERS if options.tls else SERVERS
    servers = {}
    for label in options.servers:
        missing = known[label].missing()
        if missing:
            print(f"{label}: left out, because {', '.join(missing)} is missing", file=sys.stderr)
        else:
            servers[label] = known[label]
    for given in options.server:
        label, _, command = given.partition("=")
        servers[label] = custom(command)
    return servers


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    add = parser.add_argument
    add("--full", action="store_true", help="everything, for half an hour; else two minutes")
    add("--scenarios", metavar="A,B", help=f"of {', '.join(SCENARIOS)}")
    add("--servers", metavar="A,B", help=f"of {', '.join(SERVERS)}")
    add(
        "--server",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="one more, for example another commit; {port}, {framing} and, with --tls, "
        "{certificate} are filled in",
    )
    add(
        "--tls",
        nargs="?",
        const="1.3",
        choices=tls.VERSIONS,
        help="over TLS, of this version (1.3): other scenarios and servers, about five minutes "
        "(needs OpenSSL's headers)",
    )
    add("--key", choices=list(tls.KEYS), default="ecdsa", help="of the certificate, with --tls")
    add("--reference", metavar="A", help="the server that the others are compared with (native)")
    add("--rounds", type=int)
    add("--seconds", type=float, help="of measuring, for each run")
    add("--json", type=Path, metavar="FILE", help="write everything there")
    add("--markdown", type=Path, metavar="FILE", help="put tables between the markers in FILE")
    add("--plot", type=Path, metavar="DIRECTORY", help="draw PNGs there (needs matplotlib)")
    add("--quiet", action="store_true", help="no line for each run")
    options = parser.parse_args(arguments)
    if options.tls and options.markdown is not None:
        parser.error("--markdown is for the tables of plain connections; leave out --tls")
    scenarios, servers = (TLS_SCENARIOS, TLS_SERVERS) if options.tls else (SCENARIOS, SERVERS)
    defaults = _defaults(options)
    options.scenarios = _names(parser, options.scenarios, tuple(scenarios), defaults.scenarios)
    options.servers = _names(parser, options.servers, tuple(servers), defaults.servers)
    options.rounds = options.rounds or defaults.rounds
    options.seconds = options.seconds or defaults.seconds
    if options.plot is not None and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install 'asyncrev[bench]'")
    return options


@dataclasses.dataclass(frozen=True, slots=True)
class _Defaults:
    scenarios: tuple[str, ...]
    servers: tuple[str, ...]
    rounds: int
    seconds: float


def _defaults(options: argparse.Namespace) -> _Defaults:
    if options.tls and options.full:
        # Beside many idle connections, one handshake after another would take most of the time.
        scenarios = tuple(name for name, load in TLS_SCENARIOS.items() if not load.idle)
        return _Defaults(scenarios, tuple(TLS_SERVERS), TLS_FULL_ROUNDS, TLS_FULL_SECONDS)
    if options.tls:
        return _Defaults(
            TLS_QUICK_SCENARIOS, TLS_QUICK_SERVERS, TLS_QUICK_ROUNDS, TLS_QUICK_SECONDS
        )
    if options.full:
        return _Defaults(tuple(SCENARIOS), tuple(SERVERS), FULL_ROUNDS, FULL_SECONDS)
    return _Defaults(QUICK_SCENARIOS, QUICK_SERVERS, QUICK_ROUNDS, QUICK_SECONDS)


def _names(
    parser: argparse.ArgumentParser,
    given: str | None,
    known: tuple[str, ...],
    default: tuple[str, ...],
) -> list[str]:
    names = list(default) if given is None else [name for name in given.split(",") if name]
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(known)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
