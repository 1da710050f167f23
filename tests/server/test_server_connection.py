"""server_connection: it is registered while it is open, and tells how it has ended."""

import asyncio

import pytest

from asyncrev import Server
from asyncrev.statistics import ClosedConnection
from tests.support import DEADLINE_S, until


@pytest.mark.asyncio
@pytest.mark.parametrize("is_reset", [False, True])
async def test_end_is_told_once_with_what_was_counted(is_reset: bool) -> None:
    """By a half-close of the peer, or by its reset."""
    told: list[ClosedConnection] = []
    async with Server() as server:
        server.on_connection_closed(told.append)
        await server.start("127.0.0.1", 0)
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"abc")
            assert await reader.readexactly(3) == b"cba"
            assert len(server.connections) == 1
            if is_reset:
                writer.transport.abort()
            else:
                writer.write_eof()
                assert await reader.read() == b""
                writer.close()
            await until(lambda: bool(told), "the end is told")
        assert len(server.connections) == 0
    (closed,) = told
    assert (closed.received_bytes, closed.replied_bytes) == (3, 3)
    assert closed.end in ({"closed by peer", "reset by peer"} if is_reset else {"closed by peer"})
