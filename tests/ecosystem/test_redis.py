"""redis-py's asyncio client against a real redis-server."""

import asyncio
import pathlib
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.ecosystem.conftest import Run
from tests.support import listens, wait_until

redis = pytest.importorskip("redis.asyncio")
SERVER = shutil.which("redis-server")
pytestmark = pytest.mark.skipif(SERVER is None, reason="no redis-server on PATH")


@pytest.fixture
def path(tmp_path: pathlib.Path) -> Iterator[str]:
    """The UNIX socket of a server that keeps nothing."""
    path = tmp_path / "redis"
    assert SERVER is not None
    process = subprocess.Popen(
        [SERVER, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: listens(path) or process.poll() is not None, "redis-server listens")
        assert process.poll() is None, "redis-server has ended"
        yield str(path)
    finally:
        process.terminate()
        process.wait(10)


def test_values_pipelines_and_messages(run: Run[Any], path: str, payload: bytes) -> None:
    """Fifty clients of one pool, a pipeline of a thousand, and a subscription."""

    async def main() -> tuple[Any, ...]:
        async with redis.Redis(unix_socket_path=path) as client:
            await client.set("big", payload)
            counts = await asyncio.gather(*(client.incr("count") for _ in range(50)))
            async with client.pipeline(transaction=True) as pipe:
                for number in range(1000):
                    pipe.rpush("list", number)
                pushed = await pipe.execute()
            async with client.pubsub() as subscription:
                await subscription.subscribe("news")
                heard = []
                async for message in subscription.listen():
                    if message["type"] == "subscribe":
                        for number in range(100):
                            await client.publish("news", number)
                    else:
                        heard.append(int(message["data"]))
                    if len(heard) == 100:
                        break
            return await client.get("big"), sorted(counts), pushed, heard

    big, counts, pushed, heard = run(main())
    assert big == payload
    assert counts == list(range(1, 51))
    assert pushed == list(range(1, 1001))
    assert heard == list(range(100))
