"""hypercorn's asyncio worker in a loop of ours: HTTP/1.1 and HTTP/2."""

import asyncio
import contextlib
import pathlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.ecosystem.applications import app, request, responses
from tests.ecosystem.conftest import Run
from tests.support import listens, until

hypercorn_asyncio = pytest.importorskip("hypercorn.asyncio")
config = pytest.importorskip("hypercorn.config")
h2_connection = pytest.importorskip("h2.connection")
h2_events = pytest.importorskip("h2.events")


@contextlib.asynccontextmanager
async def serving(folder: pathlib.Path) -> AsyncIterator[str]:
    """Serve the application on a UNIX socket; give its path."""
    settings, end = config.Config(), asyncio.Event()
    path = folder / "socket"
    settings.bind = [f"unix:{path}"]
    settings.errorlog = settings.accesslog = None
    server = asyncio.create_task(
        hypercorn_asyncio.serve(app, settings, mode="asgi", shutdown_trigger=end.wait)
    )
    try:
        await until(lambda: listens(path) or server.done(), "hypercorn listens")
        yield str(path)
    finally:
        end.set()
        await server


def test_requests_in_a_pipeline(run: Run[Any], tmp_path: pathlib.Path, payload: bytes) -> None:
    """HTTP/1.1 on ten connections at once."""

    async def talk(path: str) -> list[bytes]:
        reader, writer = await asyncio.open_unix_connection(path)
        bodies = [payload, b"small", b""]
        for number, body in enumerate(bodies, 1):
            writer.write(request("/", body, last=number == len(bodies)))
        answers = await responses(reader, len(bodies))
        writer.close()
        await writer.wait_closed()
        return answers

    async def main() -> list[list[bytes]]:
        async with serving(tmp_path) as path:
            return await asyncio.gather(*(talk(path) for _ in range(10)))

    assert run(main()) == [[payload.upper(), b"SMALL", b""]] * 10


def test_streams_of_http2(run: Run[Any], tmp_path: pathlib.Path) -> None:
    """A hundred requests on one connection, whose frames come in as they will."""
    bodies = {2 * number + 1: b"request %d " % number * 50 for number in range(100)}

    async def main() -> dict[int, bytes]:
        async with serving(tmp_path) as path:
            reader, writer = await asyncio.open_unix_connection(path)
            connection = h2_connection.H2Connection()
            connection.initiate_connection()
            answers = dict.fromkeys(bodies, b"")
            waiting, open_streams = list(bodies), set(bodies)
            while open_streams:
                in_flight = len(open_streams) - len(waiting)
                while waiting and in_flight < 20:
                    stream, in_flight = waiting.pop(0), in_flight + 1
                    names = (":method", ":path", ":scheme", ":authority")
                    values = ("POST", "/", "http", "localhost")
                    connection.send_headers(stream, list(zip(names, values, strict=True)))
                    connection.send_data(stream, bodies[stream], end_stream=True)
                writer.write(connection.data_to_send())
                for event in connection.receive_data(await reader.read(65536)):
                    if isinstance(event, h2_events.DataReceived):
                        answers[event.stream_id] += event.data
                        connection.acknowledge_received_data(
                            event.flow_controlled_length, event.stream_id
                        )
                    elif isinstance(event, h2_events.StreamEnded):
                        open_streams.discard(event.stream_id)
                writer.write(connection.data_to_send())
            connection.close_connection()
            writer.write(connection.data_to_send())
            writer.close()
            await writer.wait_closed()
            return answers

    assert run(main()) == {stream: body.upper() for stream, body in bodies.items()}
