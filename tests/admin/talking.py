"""What the tests of the admin endpoint share: a source that says what a test wants, and HTTP."""

import asyncio
import contextlib
import http.client
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncrev.admin.sources import NoAnswer
from tests.support import DEADLINE_S

if TYPE_CHECKING:
    from asyncrev.admin.stream import Live

HEALTH = {
    "state": "serving",
    "stopping": False,
    "accepting": True,
    "connections": 0,
    "max_connections": 5,
    "threads": [{"published": 0, "processed": 0, "steps": 0}],
}

# What the live figures are made of, as a worker answers it.
STATISTICS: dict[str, Any] = {
    **HEALTH,
    "version": "1.2.3",
    "connections": 3,
    "max_connections": 5,
    "statistics": {
        "connections": 3,
        "received_bytes": 1000,
        "replied_bytes": 500,
        "aborted": {"write stall": 2},
        "bridge": {
            "published": 30,
            "processed": 20,
            "released": 10,
            "pool": {"in_use_bytes": 11, "reserved_bytes": 22},
        },
    },
    "limits": {"ring_entries": 100, "pool_bytes": 44},
    "paused": {"write": 1, "ring": 0, "pool": 0, "quota": 2, "handshake": 0},
    "process": {"cpu_seconds": 1.0, "resident_memory_bytes": 4096, "start_time_seconds": 7.0},
}


class FakeSource:
    """Answers from a table, as often as it is asked; what it has no answer to it does not hear."""

    def __init__(self, worker: str = "0", **answers: Any) -> None:
        self.worker = worker
        self.answers: dict[str, Any] = {"health": HEALTH, **answers}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.is_closed = False

    async def ask(self, what: str, timeout_s: float = 0.5, **arguments: Any) -> dict[str, Any]:
        self.asked.append((what, arguments))
        await asyncio.sleep(0)
        answer = self.answers.get(what)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            raise NoAnswer("the event loop does not answer")
        return dict(answer)

    def close(self) -> None:
        self.is_closed = True


class Http(http.client.HTTPConnection):
    """A blocking client, of a UNIX socket or an address."""

    def __init__(self, where: str | Path | tuple[str, int]) -> None:
        super().__init__("localhost", timeout=DEADLINE_S)
        self._where = where

    def connect(self) -> None:
        if isinstance(self._where, tuple):
            self.sock = socket.create_connection(self._where, DEADLINE_S)
            return
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE_S)
        self.sock.connect(str(self._where))

    def ask(self, method: str, path: str, **headers: str) -> tuple[int, bytes]:
        """Return status and body."""
        self.request(method, path, headers=headers)
        response = self.getresponse()
        return response.status, response.read()


def get(where: str | Path | tuple[str, int], path: str) -> tuple[int, bytes]:
    """Return status and body of one GET on a connection of its own."""
    client = Http(where)
    try:
        return client.ask("GET", path)
    finally:
        client.close()


@contextlib.asynccontextmanager
async def watching(live: "Live", interval_s: float = 0.01) -> AsyncIterator[None]:
    """Have samples taken, more often than is usual."""
    live.interval_s = interval_s
    task = asyncio.create_task(live.watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
