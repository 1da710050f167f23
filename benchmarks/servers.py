"""The servers that can take part, and the command line of each."""

import dataclasses
import importlib.util
import os
import shlex
import sys
from collections.abc import Iterable

from benchmarks.scenarios import Scenario

__all__ = ["CORE", "HOST", "SERVERS", "Kind", "custom", "with_custom"]

HOST = "127.0.0.1"
# Where the servers run that use one core: beside the load generator, if there are two.
CORE = max(os.sched_getaffinity(0))
RAW = ("raw",)
FRAMED = ("line", "len32")
ALL = (*RAW, *FRAMED)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A server that can take part.

    Attributes:
        command: with `{port}`, `{framing}`, `{connections}`, `{core}`, `{launcher}` and, over TLS,
            `{certificate}` to be filled in, the last with a file of certificate and key. Empty:
            not without TLS.
        framings: what it understands then.
        tls_command: the same over TLS; empty: not over TLS.
        tls_framings: what it understands then.
        needs: packages without which it cannot run.
        environment: variables of its own.
        on_one_core: whether it is restricted to `CORE` from outside.
        takes_notes: whether it notes how late its loop is; see `lag`.
    """

    command: tuple[str, ...] = ()
    framings: tuple[str, ...] = ()
    tls_command: tuple[str, ...] = ()
    tls_framings: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    on_one_core: bool = False
    takes_notes: bool = False

    def missing(self) -> list[str]:
        """Return the packages that it needs and that are not here."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]

    def can(self, scenario: Scenario) -> bool:
        """Return whether it can take part in a scenario."""
        framings = self.tls_framings if scenario.tls else self.framings
        return scenario.framing in framings


def _asyncrev(
    *options: str,
    plane: str = "native",
    cpu: str = "{core}",
    framings: tuple[str, ...] = ALL,
    over_tls: bool = True,
    needs: tuple[str, ...] = (),
) -> Kind:
    """Return `asyncrev serve` with some options.

    `cpu`: without TLS. Over TLS it is left to the command, unless it is "any".
    """
    command = "-m {launcher} serve --port {port} --framing {framing} --log-level error"
    arguments = [sys.executable, *command.split(), "--max-connections", "{connections}", *options]
    tls_cpu = ("--cpu", cpu) if cpu == "any" else ()
    tls_command = (*arguments, *tls_cpu, "--ssl-certfile", "{certificate}")
    return Kind(
        command=(*arguments, "--cpu", cpu),
        framings=framings,
        tls_command=tls_command if over_tls else (),
        tls_framings=framings if over_tls else (),
        needs=needs,
        environment=(("ASYNCREV_PLANE", plane),),
        takes_notes=True,
    )


def _peer(
    arguments: str,
    *needs: str,
    framings: tuple[str, ...] = RAW,
    over_tls: bool = False,
    on_one_core: bool = False,
) -> Kind:
    command = (sys.executable, "-m", *f"benchmarks.peers.{arguments}".split())
    return Kind(
        command=command,
        framings=framings,
        tls_command=(*command, "--tls", "{certificate}") if over_tls else (),
        tls_framings=framings if over_tls else (),
        needs=needs,
        on_one_core=on_one_core,
        takes_notes=True,
    )


def _in_loop(loop: str, *needs: str) -> Kind:
    return _peer(f"in_loop {{port}} {loop}", *needs, over_tls=True, on_one_core=True)


def _frames(style: str, loop: str, *needs: str) -> Kind:
    arguments = f"frames_by_hand {{port}} {{framing}} {style} {loop}"
    return _peer(arguments, *needs, framings=FRAMED, on_one_core=True)


_FUNCTION = ("--processor", "benchmarks.processors:reverse")

SERVERS = {
    "native": Kind(
        command=("native", "{port}", "{framing}"),
        framings=ALL,
        tls_command=("native", "{port}", "{certificate}"),
        tls_framings=RAW,
        on_one_core=True,
    ),
    "asyncrev": _asyncrev(),
    "asyncrev-python": _asyncrev(plane="python"),
    "asyncrev-function": _asyncrev(*_FUNCTION, over_tls=False),
    "asyncrev-any": _asyncrev(cpu="any"),
    "asyncrev-uvloop": _asyncrev("--loop", "uvloop", needs=("uvloop",)),
    "asyncrev-asyncio": _asyncrev("--loop", "asyncio"),
    "asyncio": _in_loop("asyncio"),
    "uvloop": _in_loop("uvloop", "uvloop"),
    "uvloop-numpy": _peer("in_loop {port} uvloop numpy", "uvloop", on_one_core=True),
    "aiofastnet": _in_loop("aiofastnet", "aiofastnet"),
    "executor": _peer("executor {port} uvloop", "uvloop"),
    "janus": _peer("janus_queue {port} uvloop", "uvloop", "janus"),
    "culsans": _peer("culsans_queue {port} uvloop", "uvloop", "culsans"),
    "by-hand-uvloop": _frames("protocol", "uvloop", "uvloop"),
    "by-hand-asyncio": _frames("protocol", "asyncio"),
    "streams-uvloop": _frames("streams", "uvloop", "uvloop"),
    "streams-asyncio": _frames("streams", "asyncio"),
}


def custom(command: str) -> Kind:
    """Return a kind for a command line with `{port}` in it, and what else `Kind` has.

    With `{certificate}` it is one over TLS, and otherwise one without; without `{framing}` it is
    one for raw chunks.
    """
    arguments = tuple(shlex.split(command))
    framings = ALL if "{framing}" in command else RAW
    if "{certificate}" in command:
        return Kind(tls_command=arguments, tls_framings=framings)
    return Kind(command=arguments, framings=framings)


def with_custom(servers: dict[str, Kind], given: Iterable[str]) -> dict[str, Kind]:
    """Return `servers` and those of NAME=COMMAND; a name may have one over TLS and one without.

    Raises:
        ValueError: one of them is not of this form; says which.
    """
    servers = dict(servers)
    added: set[str] = set()
    for text in given:
        label, separator, command = text.partition("=")
        if not (label and separator and "{port}" in command):
            raise ValueError(f"{text!r} must be NAME=COMMAND, with {{port}} in the command")
        kind = custom(command)
        before = servers[label] if label in added else Kind()
        if kind.command:
            kind = dataclasses.replace(
                kind, tls_command=before.tls_command, tls_framings=before.tls_framings
            )
        else:
            kind = dataclasses.replace(kind, command=before.command, framings=before.framings)
        servers[label] = kind
        added.add(label)
    return servers
