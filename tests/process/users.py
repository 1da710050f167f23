"""Servers as processes without a start line, or with a processor written for one test."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support import DEADLINE_S, ROOT, wait_until


@contextlib.contextmanager
def started(*args: str, **popen: object) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `asyncrev serve`, from which no start line can be expected; kill it at the end."""
    process = subprocess.Popen([sys.executable, "-m", "asyncrev", "serve", *args], **popen)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def user_module(folder: Path, text: str) -> dict[str, object]:
    """Write the module `users_module`; return what a process needs to import it."""
    (folder / "users_module.py").write_text(f"def work(data): return data\n{text}\n")
    path = os.pathsep.join((str(folder), str(ROOT)))
    return {"env": {**os.environ, "PYTHONPATH": path, "HERE": str(folder)}}


USERS = ("--processor", "users_module:work", "--uds")


def connect_to(path: Path, name: str | None = None) -> socket.socket:
    """Return a connection to the server that listens on `path`, or will; `name`: its own path."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(DEADLINE_S)
    if name is not None:
        sock.bind(name)
    wait_until(lambda: sock.connect_ex(str(path)) == 0, "it listens")
    return sock


def sleeps(pid: int) -> bool:
    """Return whether no thread of a process runs, or wants to."""
    states = [
        path.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
        for path in Path(f"/proc/{pid}/task").glob("*/stat")
    ]
    return set(states) == {"S"}
