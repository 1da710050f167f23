"""An executor for connections without a server: on each loop, over each transport."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from asyncrev import Bridge, BridgeProtocol, ExecutorProcessor, Limits, Server, serve
from asyncrev.errors import LocalError, SettingsError
from asyncrev.executors.settings import ExecutorSettings
from asyncrev.later_processors import LaterFactory
from tests.executors import work
from tests.executors.jobs import Job
from tests.support import DEADLINE_S, until
from tests.tls_pair import client_context, server_context

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "epoll", "uvloop"])
LIMITS = Limits(slots=8, slot_bytes=4096, max_frame_bytes=2000, pool_bytes=65536)


@contextlib.asynccontextmanager
async def listening(
    transport: str, path: Path, processor: ExecutorProcessor
) -> AsyncIterator[tuple[Bridge, Any]]:
    """Serve on a bridge; give a function that connects, too."""
    loop = asyncio.get_running_loop()
    async with Bridge(LIMITS) as bridge:
        tls = server_context() if transport == "tls" else None

        def make() -> BridgeProtocol:
            return BridgeProtocol(bridge, processor, framing="line", tls=tls)

        if transport == "unix":
            server: Any = await loop.create_unix_server(make, str(path / "socket"))
        else:
            server = await loop.create_server(make, "127.0.0.1", 0)

        async def connect() -> Any:
            if transport == "unix":
                return await asyncio.open_unix_connection(str(path / "socket"))
            host, port = server.sockets[0].getsockname()
            context: ssl.SSLContext | None = client_context() if tls is not None else None
            name = None if context is None else "localhost"
            return await asyncio.open_connection(host, port, ssl=context, server_hostname=name)

        try:
            yield bridge, connect
        finally:
            server.close()


@pytest.mark.parametrize("transport", ["tcp", "unix", "tls"])
async def test_connections_share_an_executor(transport: str, tmp_path: Path) -> None:
    """Replies keep the order of each one's frames."""
    async with (
        ExecutorProcessor(
            work.flip, executor="threads", executor_settings=ExecutorSettings(workers=2)
        ) as processor,
        listening(transport, tmp_path, processor) as (_, connect),
        asyncio.timeout(DEADLINE_S),
    ):

        async def talk(who: int) -> None:
            reader, writer = await connect()
            for number in range(100):
                writer.write(b"frame %d of %d\n" % (number, who))
            for number in range(100):
                assert await reader.readline() == b"FRAME %d OF %d\n" % (number, who)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

        await asyncio.gather(*map(talk, range(5)))
        figures = processor.statistics()
        assert (figures.frames, figures.workers) == (500, 2)


async def test_worker_processes_answer_too(tmp_path: Path) -> None:
    """One that dies costs its connection only; another one takes its place."""
    failed = asyncio.Event()
    async with (
        ExecutorProcessor(
            work.obey,
            executor="processes",
            executor_settings=ExecutorSettings(workers=1),
            on_failed=failed.set,
        ) as processor,
        listening("tcp", tmp_path, processor) as (_, connect),
        asyncio.timeout(DEADLINE_S),
    ):
        reader, writer = await connect()
        writer.write(b"die\n")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        reader, writer = await connect()
        writer.write(b"again\n")
        assert await reader.readline() == b"AGAIN\n"
        assert not failed.is_set()
        writer.close()


async def test_executor_that_cannot_be_kept_running_is_reported(tmp_path: Path) -> None:
    """Once, and its frames end their connections."""
    failed: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        async with (
            ExecutorProcessor(
                work.flip, executor=pool, on_failed=lambda: failed.append("so")
            ) as processor,
            listening("tcp", tmp_path, processor) as (_, connect),
            asyncio.timeout(DEADLINE_S),
        ):
            pool.shutdown()
            reader, writer = await connect()
            writer.write(b"a\n")
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            await until(lambda: failed == ["so"], "it is reported")
            assert "cannot be replaced" in str(processor.error)
            writer.close()


async def test_servers_share_an_executor_and_count_it() -> None:
    """In their statistics and their memory bounds; it outlives them."""
    async with (
        ExecutorProcessor(work.flip, executor="threads") as processor,
        asyncio.timeout(DEADLINE_S),
    ):
        for frames in (1, 2):
            async with await serve(
                "127.0.0.1", 0, processor=processor, framing="line", limits=LIMITS
            ) as server:
                reader, writer = await asyncio.open_connection(*server.addresses[0])
                writer.write(b"a\n")
                assert await reader.readline() == b"A\n"
                writer.close()
                figures = server.statistics()
                assert figures.executor is not None
                assert figures.executor.frames == frames
                own = Server(work.flip, framing="line", limits=LIMITS, executor="threads")
                assert server.memory_bound_bytes == own.memory_bound_bytes


async def test_frames_before_the_start_are_refused() -> None:
    """In words."""
    processor = ExecutorProcessor(work.flip, executor="threads")
    with pytest.raises(LocalError, match="async with"):
        processor.engine.start(Job(b"a"))


async def test_what_cannot_be_called_is_refused() -> None:
    """As by a server."""
    with pytest.raises(SettingsError, match="lambda"):
        ExecutorProcessor(lambda frame: frame, executor="processes")
    with pytest.raises(SettingsError, match="give a function"):
        ExecutorProcessor(LaterFactory(work.flip, replies_fit=False), executor="threads")
    with pytest.raises(SettingsError, match="magic"):
        ExecutorProcessor(work.flip, executor="magic")


async def test_use_outside_of_its_block_is_refused() -> None:
    """Before, and after; a second block, too, within the first one or behind it."""
    processor = ExecutorProcessor(work.flip, executor="threads")
    async with Bridge(LIMITS) as bridge:
        with pytest.raises(SettingsError, match="outside of an `async with`"):
            BridgeProtocol(bridge, processor, framing="line")
        async with processor:
            BridgeProtocol(bridge, processor, framing="line")
            with pytest.raises(LocalError, match="was entered before"):
                async with processor:
                    pass
            BridgeProtocol(bridge, processor, framing="line")
        with pytest.raises(LocalError, match="was entered before"):
            await processor.__aenter__()
        with pytest.raises(SettingsError, match="after the end of its `async with`"):
            await serve("127.0.0.1", 0, processor=processor, framing="line", limits=LIMITS)
