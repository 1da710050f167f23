"""What the tests of the admin endpoint share: a source that says what a test wants, and HTTP."""

import asyncio
import http.client
import socket
from pathlib import Path
from typing import Any

from asyncrev.admin.sources import NoAnswer
from tests.support import DEADLINE_S

HEALTH = {
    "state": "serving",
    "stopping": False,
    "accepting": True,
    "connections": 0,
    "max_connections": 5,
    "threads": [{"published": 0, "processed": 0}],
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
