"""The servers that take part, and how one of them is run."""

import contextlib
import dataclasses
import importlib.util
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.build import native
from benchmarks.lag import TELL_VARIABLE
from benchmarks.scenarios import Scenario
from benchmarks.tls import Tls

__all__ = [
    "HOST",
    "SERVERS",
    "TLS_SERVERS",
    "Kind",
    "Running",
    "ServerFailed",
    "custom",
    "running",
]

ROOT = Path(__file__).parents[1]
HOST = "127.0.0.1"
START_S = 10.0
STOP_S = 5.0
RAW = ("raw",)
FRAMED = ("line", "len32")


class ServerFailed(Exception):
    """A server did not start, or ended before it was told to; has what it printed."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A server that can take part.

    Attributes:
        command: with `{port}`, `{framing}`, `{connections}` and, over TLS, `{certificate}` to be
            filled in, the last with a file of certificate and key.
        framings: what it understands.
        needs: packages without which it cannot run.
    """

    command: tuple[str, ...]
    framings: tuple[str, ...]
    needs: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """Return the packages that it needs and that are not here."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


def _asyncrev(
    *options: str, needs: tuple[str, ...] = (), framings: tuple[str, ...] = (*RAW, *FRAMED)
) -> Kind:
    command = "benchmarks.launch serve --port {port} --framing {framing} --log-level error"
    settings = "--max-connections {connections}"
    arguments = (sys.executable, "-m", *command.split(), *settings.split(), *options)
    return Kind(command=arguments, framings=framings, needs=needs)


def _peer(arguments: str, *needs: str, framings: tuple[str, ...] = RAW) -> Kind:
    command = (sys.executable, "-m", *f"benchmarks.peers.{arguments}".split())
    return Kind(command=command, framings=framings, needs=needs)


SERVERS = {
    "native": Kind(command=("native", "{port}"), framings=RAW),
    "asyncrev": _asyncrev(),
    "asyncrev-any": _asyncrev("--cpu", "any"),
    "asyncrev-inline": _asyncrev("--inline-below-bytes", "4096", framings=RAW),
    "asyncrev-uvloop": _asyncrev("--loop", "uvloop", needs=("uvloop",)),
    "asyncrev-asyncio": _asyncrev("--loop", "asyncio"),
    "asyncio": _peer("in_loop {port} asyncio"),
    "uvloop": _peer("in_loop {port} uvloop", "uvloop"),
    "uvloop-numpy": _peer("in_loop {port} uvloop numpy", "uvloop"),
    "aiofastnet": _peer("in_loop {port} aiofastnet", "aiofastnet"),
    "executor": _peer("executor {port} uvloop", "uvloop"),
    "janus": _peer("janus_queue {port} uvloop", "uvloop", "janus"),
    "culsans": _peer("culsans_queue {port} uvloop", "uvloop", "culsans"),
    "by-hand-uvloop": _peer(
        "frames_by_hand {port} {framing} protocol uvloop", "uvloop", framings=FRAMED
    ),
    "by-hand-asyncio": _peer("frames_by_hand {port} {framing} protocol asyncio", framings=FRAMED),
    "streams-uvloop": _peer(
        "frames_by_hand {port} {framing} streams uvloop", "uvloop", framings=FRAMED
    ),
    "streams-asyncio": _peer("frames_by_hand {port} {framing} streams asyncio", framings=FRAMED),
}


_TLS = ("--ssl-certfile", "{certificate}")

# Those that can do it over TLS, with the same names and TLS in the same place as the work.
TLS_SERVERS = {
    "native": Kind(command=("native", "{port}", "{certificate}"), framings=RAW),
    "asyncrev": _asyncrev(*_TLS),
    "asyncrev-any": _asyncrev(*_TLS, "--cpu", "any"),
    "asyncrev-uvloop": _asyncrev(*_TLS, "--loop", "uvloop", needs=("uvloop",)),
    "asyncrev-asyncio": _asyncrev(*_TLS, "--loop", "asyncio"),
    "asyncio": _peer("in_loop {port} asyncio --tls {certificate}"),
    "uvloop": _peer("in_loop {port} uvloop --tls {certificate}", "uvloop"),
    "aiofastnet": _peer("in_loop {port} aiofastnet --tls {certificate}", "aiofastnet"),
}


def custom(command: str) -> Kind:
    """Return a kind for any command line with `{port}` in it; what else `Kind` has may be, too."""
    return Kind(command=tuple(shlex.split(command)), framings=(*RAW, *FRAMED))


class Running:
    """A server that runs.

    Attributes:
        pid: its process.
        port: where it listens.
        looks: what its `LagProbe` noted; there once it was stopped, empty if it has none.
    """

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self.port = port
        self.looks: list[Any] = []


@contextlib.contextmanager
def running(kind: Kind, scenario: Scenario, tls: Tls | None = None) -> Iterator[Running]:
    """Run a server for as long as the block takes; then it is gone, one way or another.

    `tls`: what it serves with; its command is then one of `TLS_SERVERS`, or a custom one.

    Raises:
        ServerFailed: it does not listen, or has ended by the end of the block.
    """
    port = _free_port()
    # Nobody serves in debug mode.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONASYNCIODEBUG"}
    connections = scenario.connections + scenario.idle + 64
    filled = [
        part.format(
            port=port,
            framing=scenario.framing,
            connections=connections,
            certificate="" if tls is None else tls.certificate,
        )
        for part in kind.command
    ]
    if filled[0] == "native":
        filled[0] = str(native(tls=tls is not None))
    with tempfile.TemporaryDirectory(prefix="asyncrev-benchmark-") as directory:
        told_path, said_path = Path(directory) / "told.json", Path(directory) / "said"
        with said_path.open("wb") as said:
            process = subprocess.Popen(
                filled,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd=ROOT,
                env={**environment, TELL_VARIABLE: str(told_path)},
                start_new_session=True,
            )
        server = Running(process.pid, port)
        try:
            _wait_until_it_listens(process, port, said_path)
            yield server
            if process.poll() is not None:
                raise ServerFailed(f"it ended by itself: {_end_of(said_path)}")
        finally:
            _stop(process)
        with contextlib.suppress(FileNotFoundError, ValueError):
            server.looks = json.loads(told_path.read_text(encoding="utf-8"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _wait_until_it_listens(process: "subprocess.Popen[bytes]", port: int, said_path: Path) -> None:
    end_s = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end_s:
        with socket.socket() as probe:
            probe.settimeout(1.0)
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.02)
    raise ServerFailed(f"it does not listen: {_end_of(said_path)}")


def _end_of(said_path: Path) -> str:
    return said_path.read_text(encoding="utf-8", errors="replace")[-400:].strip() or "(silent)"


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End the server's process group: by SIGTERM, so that it can tell, and for certain."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
