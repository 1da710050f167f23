"""Runs servers: one for a block, or several that stay up and are loaded in turns."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any, Self

from benchmarks.build import native
from benchmarks.lag import BEGIN, DESCRIPTOR_VARIABLE, END
from benchmarks.machine import ROOT
from benchmarks.scenarios import Scenario
from benchmarks.servers import CORE, HOST, Kind
from benchmarks.tls import Tls

__all__ = ["Fleet", "Running", "ServerFailed", "cpu_s", "running"]

START_S = 10.0
LOOK_S = 0.002  # between two looks whether a server listens
STOP_S = 5.0
NOTES_S = 20.0
SPARE_CONNECTIONS = 64


class ServerFailed(Exception):
    """A server did not start, ended before it was told to, or answered wrongly; has its output."""


class Running:
    """A server that listens.

    Attributes:
        pid: its process.
        port: where it listens.
        start_ms: from the start of its process until it listened.
        start_cpu_ms: its CPU time until then.
        start_rss_bytes: its resident set then.
    """

    def __init__(
        self, kind: Kind, scenario: Scenario, connections: int, tls: Tls | None = None
    ) -> None:
        """Start a server of `kind` with a scenario's framing, and wait until it listens.

        `connections`: the most that it will have to take at once. `tls`: what it serves with, if
        the scenario is over TLS.

        Raises:
            ServerFailed: it does not listen; has what it printed.
        """
        self.port = _free_port()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `stop`
        self._notes, theirs = socket.socketpair() if kind.takes_notes else (None, None)
        # Nobody serves in debug mode.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONASYNCIODEBUG"}
        environment |= dict(kind.environment)
        if theirs is not None:
            environment[DESCRIPTOR_VARIABLE] = str(theirs.fileno())
        start_s = time.monotonic()
        try:
            with _on_core(CORE) if kind.on_one_core else contextlib.nullcontext():
                self._process = subprocess.Popen(
                    _filled(kind, scenario, connections, self.port, tls),
                    stdin=subprocess.DEVNULL,
                    stdout=self._said,
                    stderr=self._said,
                    cwd=ROOT,
                    env=environment,
                    pass_fds=() if theirs is None else (theirs.fileno(),),
                    start_new_session=True,
                )
        except OSError as error:
            self._said.close()
            raise ServerFailed(f"it cannot be started: {error}") from None
        finally:
            if theirs is not None:
                theirs.close()
        self.pid = self._process.pid
        try:
            self._wait_until_it_listens()
        except ServerFailed:
            self.stop()
            raise
        self.start_ms = 1e3 * (time.monotonic() - start_s)
        self.start_cpu_ms = 1e3 * cpu_s(self.pid)
        self.start_rss_bytes = _rss_bytes(self.pid)

    def begin_notes(self) -> None:
        """Have it note how late its loop is, from now on; do nothing if it cannot."""
        if self._notes is not None:
            self._ask(BEGIN)

    def end_notes(self) -> list[Any]:
        """Return `LagProbe.looks` since `begin_notes`; empty if it cannot take notes."""
        looks: list[Any] = [] if self._notes is None else json.loads(self._ask(END))
        return looks

    def check(self) -> None:
        """Raise ServerFailed with its last words if it has ended."""
        if self._process.poll() is not None:
            raise ServerFailed(f"it ended by itself: {self.last_words()}")

    def last_words(self) -> str:
        """Return the end of what it printed."""
        size = os.fstat(self._said.fileno()).st_size
        end = os.pread(self._said.fileno(), 400, max(0, size - 400))
        return end.decode(errors="replace").strip() or "(silent)"

    def stop(self) -> None:
        """End its process group, by SIGTERM and at last by SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        self._said.close()
        if self._notes is not None:
            self._notes.close()

    def _ask(self, word: bytes) -> bytes:
        """Return the line that is the answer."""
        assert self._notes is not None
        try:
            self._notes.settimeout(NOTES_S)
            self._notes.sendall(word)
            answer = b""
            while not answer.endswith(b"\n"):
                part = self._notes.recv(1 << 20)
                if not part:
                    raise ServerFailed(f"it ended by itself: {self.last_words()}")
                answer += part
        except OSError as error:
            raise ServerFailed(f"it gives no notes: {error}; {self.last_words()}") from None
        return answer

    def _wait_until_it_listens(self) -> None:
        end_s = time.monotonic() + START_S
        while self._process.poll() is None and time.monotonic() < end_s:
            with socket.socket() as probe:
                probe.settimeout(1.0)
                if probe.connect_ex((HOST, self.port)) == 0:
                    return
            time.sleep(LOOK_S)
        raise ServerFailed(f"it does not listen: {self.last_words()}")


@contextlib.contextmanager
def running(kind: Kind, scenario: Scenario, tls: Tls | None = None) -> Iterator[Running]:
    """Run a server for as long as the block takes; then it is gone, one way or another.

    Raises:
        ServerFailed: it does not listen, or has ended by the end of the block.
    """
    server = Running(kind, scenario, _most_connections([scenario]), tls)
    try:
        yield server
        server.check()
    finally:
        server.stop()


class Fleet:
    """Servers that are started when their first turn comes, and stay up until the end."""

    def __init__(self, scenarios: list[Scenario], tls: Tls | None) -> None:
        """Run servers for `scenarios`."""
        self._connections = _most_connections(scenarios)
        self._tls = tls
        self._up: dict[tuple[str, str, bool], Running] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._up.values():
            server.stop()

    @contextlib.contextmanager
    def turn(self, label: str, kind: Kind, scenario: Scenario) -> Iterator[Running]:
        """Have the server of this label for the block: the one that is up, or a new one.

        One that fails is stopped, and its next turn starts it anew.

        Raises:
            ServerFailed: it does not listen, has ended by the end of the block, or the block says
                so.
        """
        if scenario.fresh:
            with running(kind, scenario, self._tls) as server:
                yield server
            return
        key = (label, scenario.framing, scenario.tls)
        if key not in self._up:
            self._up[key] = Running(kind, scenario, self._connections, self._tls)
        server = self._up[key]
        try:
            yield server
            server.check()
        except ServerFailed:
            del self._up[key]
            server.stop()
            raise


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process, as clock_getcpuclockid(3) has it."""
    return time.clock_gettime(~pid << 3 | 2)


def _rss_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _most_connections(scenarios: list[Scenario]) -> int:
    most = max(scenario.connections + scenario.idle for scenario in scenarios)
    return most + SPARE_CONNECTIONS


def _filled(
    kind: Kind, scenario: Scenario, connections: int, port: int, tls: Tls | None
) -> list[str]:
    """Return the command line, of the command itself where its start is what is measured."""
    launcher = "benchmarks.launch" if scenario.connections else "asyncrev"
    parts = [
        part.format(
            port=port,
            framing=scenario.framing,
            connections=connections,
            core=CORE,
            launcher=launcher,
            certificate="" if tls is None else tls.certificate,
        )
        for part in (kind.tls_command if scenario.tls else kind.command)
    ]
    if parts[0] == "native":
        parts[0] = str(native(tls=scenario.tls))
    return parts


@contextlib.contextmanager
def _on_core(core: int) -> Iterator[None]:
    """Start processes on one core: they inherit what this thread is restricted to."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
