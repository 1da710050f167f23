"""grpc.aio: a core of its own, with threads, that wakes the loop by a socket."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.ecosystem.conftest import Run

grpc = pytest.importorskip("grpc")
pytest.importorskip("grpc.aio")


@pytest.fixture(autouse=True)
def nothing_is_left() -> None:
    """Not looked for: grpc keeps its threads and their descriptors for as long as the process."""


async def upper(request: bytes, context: Any) -> bytes:
    """One request, one reply."""
    return request.upper()


async def parts(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    """A stream in both directions."""
    async for request in requests:
        yield request.upper()
        yield str(len(request)).encode()


def test_calls_and_streams(run: Run[Any], payload: bytes) -> None:
    """Fifty calls at once, and a stream that runs meanwhile."""
    big = payload[:500_000]
    requests = [big, *(b"request %d" % number for number in range(50))]

    async def main() -> tuple[list[bytes], list[bytes]]:
        server = grpc.aio.server()
        handlers = {
            "Upper": grpc.unary_unary_rpc_method_handler(upper),
            "Parts": grpc.stream_stream_rpc_method_handler(parts),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.T", handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                stream = channel.stream_stream("/test.T/Parts")(iter(requests))
                call = channel.unary_unary("/test.T/Upper")
                replies = await asyncio.gather(*map(call, requests))
                return replies, [part async for part in stream]
        finally:
            await server.stop(None)

    replies, streamed = run(main())
    assert replies == [request.upper() for request in requests]
    expected = [[request.upper(), str(len(request)).encode()] for request in requests]
    assert streamed == [part for pair in expected for part in pair]
