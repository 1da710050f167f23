"""pyzmq: its sockets show the loop a descriptor that is edge-triggered."""

import asyncio
from typing import Any

import pytest

from tests.ecosystem.conftest import Run

zmq = pytest.importorskip("zmq")
zmq_asyncio = pytest.importorskip("zmq.asyncio")


def test_requests_and_a_pipeline(run: Run[Any], payload: bytes) -> None:
    """Requests in turn, and messages that come faster than they are taken."""
    messages = [payload, *(b"message %d" % number for number in range(500))]

    async def main() -> tuple[list[bytes], list[bytes]]:
        with zmq_asyncio.Context() as context:
            replying, asking = context.socket(zmq.REP), context.socket(zmq.REQ)
            pushing, pulling = context.socket(zmq.PUSH), context.socket(zmq.PULL)
            with replying, asking, pushing, pulling:
                asking.connect(f"tcp://127.0.0.1:{replying.bind_to_random_port('tcp://127.0.0.1')}")
                pushing.connect(f"tcp://127.0.0.1:{pulling.bind_to_random_port('tcp://127.0.0.1')}")

                async def serve() -> None:
                    for _ in range(50):
                        await replying.send((await replying.recv()).upper())

                async def ask() -> list[bytes]:
                    replies = []
                    for message in messages[:50]:
                        await asking.send(message)
                        replies.append(await asking.recv())
                    return replies

                async def push() -> None:
                    for message in messages:
                        await pushing.send(message)

                async def pull() -> list[bytes]:
                    return [await pulling.recv() for _ in messages]

                _, replies, _, pulled = await asyncio.gather(serve(), ask(), push(), pull())
                return replies, pulled

    replies, pulled = run(main())
    assert replies == [message.upper() for message in messages[:50]]
    assert pulled == messages
