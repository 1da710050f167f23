"""Loads servers that stay up in short turns of random order: `python -m benchmarks.run [--full]`.

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
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import machine, report, scenarios, tls
from benchmarks.build import load_generator, native
from benchmarks.running import Fleet, ServerFailed
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.servers import CORE, SERVERS, Kind, with_custom
from benchmarks.summary import SCHEMA_VERSION, Runs, summarise
from benchmarks.tables import markdown
from benchmarks.tls import Tls
from benchmarks.turns import turn

__all__ = ["main", "measure"]

QUICK_SERVERS = (
    "native",
    "asyncrev",
    "asyncrev-python",
    "uvloop",
    "janus",
    "executor",
    "by-hand-uvloop",
)
QUICK_ROUNDS, FULL_ROUNDS = 5, 9
SECONDS = 0.4
WARMUP_S = 0.2


def main(arguments: list[str] | None = None) -> int:
    """Run what the arguments ask for; return the exit code."""
    options = _parse(arguments)
    chosen = {name: SCENARIOS[name] for name in options.scenarios}
    try:
        with contextlib.ExitStack() as stack:
            over_tls = any(scenario.tls for scenario in chosen.values())
            used = stack.enter_context(tls.made(options.tls, options.key)) if over_tls else None
            results = measure(
                chosen,
                options.kinds,
                options.rounds,
                options.seconds,
                used,
                reference=options.reference,
                everyone=options.everyone,
                progress=not options.quiet,
            )
    except RuntimeError as error:  # there is no compiler, or no OpenSSL
        print(f"benchmarks: error: {error}", file=sys.stderr)
        return 2
    print(report.text(results))
    _write(results, options)
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
    chosen: dict[str, Scenario],
    servers: dict[str, Kind],
    rounds: int,
    seconds: float,
    used_tls: Tls | None = None,
    *,
    reference: str | None = None,
    everyone: bool = True,
    warmup_s: float = WARMUP_S,
    progress: bool = True,
) -> dict[str, Any]:
    """Give every server one turn in every scenario, `rounds` times; return all that was seen.

    `used_tls`: what is used in scenarios over TLS. `reference`: the server that the others are
    compared with; by default the first of `REFERENCES` that takes part. `everyone`: whether
    `Scenario.servers` says nothing.

    Raises:
        RuntimeError: the C programs cannot be compiled.
    """
    for over_tls in {scenario.tls for scenario in chosen.values()}:
        load_generator(tls=over_tls)
        native(tls=over_tls)
    _raise_descriptor_limit()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    start_s = time.monotonic()
    described = machine.describe()
    parts = {
        name: {
            label: _Part([], [])
            for label, kind in servers.items()
            if kind.can(scenario) and (everyone or _is_wanted(label, scenario))
        }
        for name, scenario in chosen.items()
    }
    with Fleet(list(chosen.values()), used_tls) as fleet:
        for number in range(rounds):
            for name, scenario in chosen.items():
                of_scenario = parts[name]
                for label in random.sample(list(of_scenario), len(of_scenario)):
                    part = of_scenario[label]
                    try:
                        with fleet.turn(label, servers[label], scenario) as server:
                            run = turn(server, scenario, seconds, warmup_s, used_tls)
                    except ServerFailed as failure:
                        part.failures.append(str(failure))
                        figure = f"FAILED: {failure}"
                    else:
                        part.runs.append({"round": number, **run})
                        figure = f"{run[scenario.headline]:,.0f} {scenario.headline}"
                    if progress:
                        print(f"round {number + 1} {name} {label}: {figure}", file=sys.stderr)
    return {
        "schema_version": SCHEMA_VERSION,
        "closed_loop": True,
        "started": started,
        "elapsed_s": round(time.monotonic() - start_s, 1),
        "machine": described,
        "settings": {"rounds": rounds, "seconds": seconds, "warmup_s": warmup_s, "core": CORE},
        "tls": None if used_tls is None else {"version": used_tls.version, "key": used_tls.key},
        "scenarios": {
            name: summarise(
                scenario,
                {label: part.runs for label, part in parts[name].items()},
                {label: part.failures for label, part in parts[name].items()},
                reference,
            )
            for name, scenario in chosen.items()
        },
    }


@dataclasses.dataclass(frozen=True, slots=True)
class _Part:
    """What one server did in one scenario."""

    runs: Runs
    failures: list[str]


def _is_wanted(label: str, scenario: Scenario) -> bool:
    """Return whether a server that nobody named takes part, or one that is not ours."""
    return scenario.servers is None or label in scenario.servers or label not in SERVERS


def _raise_descriptor_limit() -> None:
    """Allow as many descriptors as we may; the servers inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _write(results: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results) + "\n", encoding="utf-8")
    if options.markdown is not None:
        report.put_between_markers(options.markdown, report.FIGURES, markdown(results))
    if options.plot is not None:
        from benchmarks import plots

        plots.draw(results, options.plot)


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
        help="one more, for example an older installation; {port}, {framing}, {connections}, "
        "{core} and {certificate} are filled in. It takes part over TLS if it has {certificate} "
        "in it, else without; a name may have both",
    )
    add("--tls", default="1.3", choices=tls.VERSIONS, help="the version for scenarios over TLS")
    add("--key", choices=list(tls.KEYS), default="ecdsa", help="of the certificate")
    add("--reference", metavar="A", help="the server that the others are compared with (native)")
    add("--rounds", type=int, help=f"({QUICK_ROUNDS}, with --full {FULL_ROUNDS})")
    add("--seconds", type=float, default=SECONDS, help=f"of measuring, for each turn ({SECONDS})")
    add("--json", type=Path, metavar="FILE", help="write everything there")
    add("--markdown", type=Path, metavar="FILE", help="put tables between the markers in FILE")
    add("--plot", type=Path, metavar="DIRECTORY", help="draw PNGs there (needs matplotlib)")
    add("--quiet", action="store_true", help="no line for each turn")
    options = parser.parse_args(arguments)
    options.scenarios = _scenarios(parser, options)
    default = tuple(SERVERS) if options.full else QUICK_SERVERS
    options.everyone = options.servers is not None
    labels = _names(parser, options.servers, tuple(SERVERS), default)
    options.kinds = _present({label: SERVERS[label] for label in labels})
    try:
        options.kinds = with_custom(options.kinds, options.server)
    except ValueError as error:
        parser.error(f"--server {error}")
    options.rounds = options.rounds or (FULL_ROUNDS if options.full else QUICK_ROUNDS)
    if options.plot is not None and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install 'asyncrev[bench]'")
    return options


def _scenarios(parser: argparse.ArgumentParser, options: argparse.Namespace) -> list[str]:
    """Return the names of those to run: all that were asked for, or those that can be run here."""
    default = scenarios.FULL if options.full else scenarios.QUICK
    names = _names(parser, options.scenarios, tuple(SCENARIOS), default)
    lacking = tls.missing() if any(SCENARIOS[name].tls for name in names) else None
    if lacking is None or options.scenarios is not None:
        return names
    print(f"TLS: left out, because it needs {lacking}", file=sys.stderr)
    return [name for name in names if not SCENARIOS[name].tls]


def _present(servers: dict[str, Kind]) -> dict[str, Kind]:
    """Return the servers that have all they need; say which others there are."""
    for label, kind in servers.items():
        if kind.missing():
            lacking = ", ".join(kind.missing())
            print(f"{label}: left out, because {lacking} is missing", file=sys.stderr)
    return {label: kind for label, kind in servers.items() if not kind.missing()}


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
