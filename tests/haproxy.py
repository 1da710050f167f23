"""HAProxy as a process of a test: a configuration, its runtime socket, and the end.

`with balancing(SHIPPED, [server], directory) as proxy: proxy.wait_for("one", "UP")`.
"""

import contextlib
import csv
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support import DEADLINE_S, ROOT, wait_until

__all__ = ["NEEDS_HAPROXY", "SHIPPED", "Balancer", "Target", "balancing"]

NEEDS_HAPROXY = pytest.mark.skipif(
    shutil.which("haproxy") is None, reason="there is no haproxy here"
)
SHIPPED = ROOT / "packaging" / "haproxy" / "haproxy.cfg"

# A server: its name in the file, its port, and the one of its admin endpoint.
Target = tuple[str, int, int]


class Balancer:
    """A running HAProxy.

    Attributes:
        address: where its clients connect.
        process: its process.
    """

    def __init__(
        self, process: "subprocess.Popen[bytes]", address: tuple[str, int], runtime: Path
    ) -> None:
        self.process = process
        self.address = address
        self._runtime = runtime

    def connect(self) -> socket.socket:
        """Return a blocking connection with a deadline."""
        return socket.create_connection(self.address, DEADLINE_S)

    def command(self, line: str) -> str:
        """Return what HAProxy answers to a command of its runtime API."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(DEADLINE_S)
            sock.connect(str(self._runtime))
            sock.sendall(line.encode() + b"\n")
            with sock.makefile("r", encoding="utf-8") as answer:
                return answer.read()

    def answers(self) -> bool:
        """Return whether it takes commands."""
        try:
            return bool(self.command("show info"))
        except ConnectionRefusedError:
            return False

    def servers(self) -> dict[str, dict[str, str]]:
        """Return the columns of `show stat` for each server, by its name."""
        rows = csv.DictReader(self.command("show stat").lstrip("# ").splitlines())
        return {row["svname"]: row for row in rows if row["svname"] not in ("FRONTEND", "BACKEND")}

    def status(self, server: str) -> str:
        """Return UP, DOWN, "UP 1/2" on the way down, MAINT; as the statistics have it."""
        return self.servers()[server]["status"]

    def wait_for(self, server: str, status: str, deadline_s: float = DEADLINE_S) -> None:
        """Wait until HAProxy has found the status of a server by checks."""
        wait_until(
            lambda: self.status(server) == status and self.servers()[server]["check_status"],
            f"{server} is {status} for HAProxy",
            deadline_s,
        )


def with_targets(text: str, targets: Sequence[Target], listener: int, runtime: Path) -> str:
    """Return a configuration that binds to a descriptor and has other servers.

    Every `server` line is the first one with another name and other ports; nothing else changes.
    """
    lines = re.findall(r"^ +server (\w+) ([\d.]+):(\d+) (.*)port (\d+)(.*)$", text, re.MULTILINE)
    assert lines, "the configuration has no server whose health is checked at another port"
    (_, _, _, before, _, after), *_ = lines
    text, bound = re.subn(r"^( +)bind :\d+", rf"\1bind fd@{listener}", text, flags=re.MULTILINE)
    text, sockets = re.subn(r"(stats socket) \S+", rf"\1 {runtime}", text)
    assert (bound, sockets) == (1, 1)
    text = re.sub(r"^ +server .*\n", "", text, flags=re.MULTILINE)
    return text + "".join(
        f"    server {name} 127.0.0.1:{port} {before}port {admin}{after}\n"
        for name, port, admin in targets
    )


@contextlib.contextmanager
def balancing(
    config: Path, targets: Sequence[Target], directory: Path, **replaced: str
) -> Iterator[Balancer]:
    """Run HAProxy with a file's configuration in front of `targets`, until all of them are UP.

    `replaced`: other values of words of the file, as inter="100ms"; each must be there.
    """
    runtime = directory / "haproxy.sock"
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:  # which it inherits
        text = with_targets(config.read_text(encoding="utf-8"), targets, listener.fileno(), runtime)
        for word, value in replaced.items():
            text, found = re.subn(rf"\b{word} \S+", f"{word} {value}", text)
            assert found, word
        file = directory / "haproxy.cfg"
        file.write_text(text, encoding="utf-8")
        with open(directory / "haproxy.log", "wb") as log:
            process = subprocess.Popen(
                ["haproxy", "-db", "-f", str(file)],
                pass_fds=[listener.fileno()],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        with process:
            try:
                wait_until(
                    lambda: runtime.exists() or process.poll() is not None, "HAProxy has begun"
                )
                assert process.poll() is None, (directory / "haproxy.log").read_text()
                proxy = Balancer(process, listener.getsockname(), runtime)
                wait_until(proxy.answers, "its runtime API answers")  # it binds, then listens
                for name, _, _ in targets:
                    proxy.wait_for(name, "UP")
                yield proxy
            finally:
                process.kill()
