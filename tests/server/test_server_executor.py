"""server_executor: frames are answered by an executor, from the start to the end of a server."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import asyncrev
from asyncrev import Limits, Server
from asyncrev.errors import ExecutorLost, SettingsError
from asyncrev.executors.settings import ExecutorSettings
from tests.executors import work
from tests.support import receive_all, until

pytestmark = pytest.mark.asyncio(loop_factories=["epoll", "asyncio"])
LIMITS = Limits(slots=8, slot_bytes=4096, max_frame_bytes=2000, pool_bytes=65536)


def upper(frame: bytes) -> bytes:
    return frame.upper()


async def ask(server: Server, data: bytes) -> bytes:
    """Send everything, end the stream, return all that comes."""
    sock = socket.create_connection(server.addresses[0])
    sock.settimeout(20)
    with sock:
        await asyncio.to_thread(sock.sendall, data)
        sock.shutdown(socket.SHUT_WR)
        return await asyncio.to_thread(receive_all, sock)


async def test_replies_of_threads_keep_the_order_of_their_frames() -> None:
    """Of several connections at once, in batches."""
    async with await asyncrev.serve(
        port=0, processor=upper, framing="line", limits=LIMITS, executor="threads"
    ) as server:
        data = [b"".join(b"%d-%d\n" % (who, n) for n in range(200)) for who in range(4)]
        assert await asyncio.gather(*(ask(server, one) for one in data)) == data
        statistics = server.statistics()
        assert statistics.executor is not None
        assert statistics.pending is not None
        assert statistics.executor.frames == 800
        assert statistics.executor.batches < 800
        assert statistics.pending.requests == 0
        direct = Server(upper, framing="line", limits=LIMITS)
        assert server.memory_bound_bytes > direct.memory_bound_bytes


async def test_an_executor_of_ones_own_is_taken_and_left() -> None:
    """Its owner ends it."""
    with ThreadPoolExecutor(2) as pool:
        async with await asyncrev.serve(
            port=0,
            processor=upper,
            framing="len32",
            limits=LIMITS,
            executor=pool,
            executor_settings=ExecutorSettings(batch_frames=3),
        ) as server:
            frame = (1).to_bytes(4, "big")
            assert await ask(server, (frame + b"a") * 7) == (frame + b"A") * 7
        assert pool.submit(int).result() == 0


async def test_a_lost_worker_ends_the_connections_of_its_frames_only() -> None:
    """Counted by its reason; the next ones are served by another process."""
    async with await asyncrev.serve(
        port=0,
        processor=work.obey,
        framing="line",
        limits=LIMITS,
        executor="processes",
        executor_settings=ExecutorSettings(workers=1),
    ) as server:
        assert await ask(server, b"echo a\n") == b"ECHO A\n"
        assert await ask(server, b"die\n") == b""
        await until(lambda: server.statistics().aborted == {"executor lost": 1}, "it is counted")
        assert await ask(server, b"echo b\n") == b"ECHO B\n"


async def test_executor_that_cannot_be_kept_ends_the_server_with_its_error() -> None:
    """It drains, so that nobody waits for what will never come."""
    server = await asyncrev.serve(
        port=0, processor=upper, framing="line", limits=LIMITS, executor="threads"
    )
    serving = asyncio.ensure_future(server.serve_forever())
    assert server._executor is not None
    server._executor._fail(RuntimeError("too many deaths"))
    with pytest.raises(ExecutorLost, match="too many deaths"):
        await serving
    await server.close()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"executor": "magic"}, "executor is 'magic'"),
        ({"executor": "processes", "processor": lambda data: data}, "it is a lambda"),
        ({"executor": "threads", "processor": asyncrev.Reverse}, "is a class"),
        ({"executor_settings": ExecutorSettings()}, "without an executor"),
    ],
)
async def test_what_does_not_fit_together_is_refused(settings: dict[str, Any], words: str) -> None:
    """Before anything is started."""
    with pytest.raises(SettingsError, match=words):
        Server(**{"processor": upper, "framing": "line", **settings})
