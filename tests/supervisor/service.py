"""A supervisor of fake workers, with clients."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

from asyncrev.server.listeners import Listeners
from asyncrev.supervisor.doors import SharedDoors
from asyncrev.supervisor.plan import Plan
from asyncrev.supervisor.process import Command
from asyncrev.supervisor.supervisor import Supervisor
from tests import support


def plan(generation: int = 1, most_connections: int = 1000, **setup: Any) -> Plan:
    """Return a plan; `behaviour`: how its workers misbehave."""
    return Plan(generation, setup, most_connections, drain_s=30.0)


def fake(*behaviour: str) -> Command:
    """Return the command of fake workers that all misbehave in this way."""
    arguments = [sys.executable, "-S", "-m", "tests.supervisor.fake_worker", *behaviour]
    return Command(arguments, dict(os.environ))


class Service:
    """A supervisor that listens on a free port of 127.0.0.1."""

    def __init__(self) -> None:
        self.supervisor: Supervisor
        self.stops = 0
        self.changes = 0
        self._clients: list[Client] = []

    async def open(self, command: Command, first: Plan, workers: int, **settings: Any) -> None:
        listeners = Listeners(
            lambda sock, address: self.supervisor.accept(sock, address), backlog=100, retry_s=0.1
        )
        await listeners.open("127.0.0.1", 0, uds=None, uds_mode=0o600, sock=None)
        asked = {"restart_limit": 10, "hung_after_s": 30.0, **settings}
        doors = SharedDoors(listeners, workers)
        self.supervisor = Supervisor(
            command, first, doors, stop=self.note_stop, changed=self.note_change, **asked
        )

    def note_stop(self) -> None:
        self.stops += 1

    def note_change(self) -> None:
        self.changes += 1

    async def connect(self) -> "Client":
        """Return a client; its worker has not answered yet."""
        client = Client(*await asyncio.open_connection(*self.supervisor.addresses[0]))
        self._clients.append(client)
        return client

    async def close(self) -> None:
        """End the service and all clients."""
        await self.supervisor.close()
        for client in self._clients:
            client.writer.transport.abort()
            with contextlib.suppress(OSError):
                await client.writer.wait_closed()

    async def clients(self, number: int) -> "list[Client]":
        """Return so many clients, whose workers have answered."""
        clients = [await self.connect() for _ in range(number)]
        for client in clients:
            await client.greeting()
        return clients

    @property
    def pids(self) -> list[int]:
        """Of the present workers."""
        return [worker.pid for worker in self.supervisor.workers]


class Client:
    """A connection to a fake worker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.worker = self.generation = self.pid = -1

    async def greeting(self) -> None:
        """Read which worker it has."""
        async with asyncio.timeout(support.DEADLINE_S):
            line = await self.reader.readline()
        self.worker, self.generation, self.pid = map(int, line.split(b":"))

    async def end(self) -> bytes:
        """Wait for the end of the stream; return what came before."""
        async with asyncio.timeout(support.DEADLINE_S):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def tell(self, word: bytes) -> None:
        self.writer.write(word + b"\n")

    def close(self) -> None:
        self.writer.close()


@contextlib.asynccontextmanager
async def serving(
    *behaviour: str, workers: int = 2, first: Plan | None = None, **settings: Any
) -> AsyncIterator[Service]:
    """Run a service whose workers are ready."""
    service = Service()
    await service.open(fake(*behaviour), first or plan(), workers, **settings)
    try:
        await service.supervisor.start()
        yield service
    finally:
        await service.close()
