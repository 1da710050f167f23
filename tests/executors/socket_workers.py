"""Executors with a worker at the other end of a socket, started and ended for a test."""

import asyncio
import contextlib
import multiprocessing
from collections.abc import AsyncIterator
from concurrent.futures import Future
from typing import Any

from asyncrev.executors.interpreter_executor import InterpreterExecutor
from asyncrev.executors.process_executor import ProcessExecutor
from tests.executors.jobs import HAS_INTERPRETERS
from tests.support import DEADLINE_S, until

FORKSERVER = multiprocessing.get_context("forkserver")


def process() -> ProcessExecutor:
    """Start a worker process."""
    return ProcessExecutor(FORKSERVER, DEADLINE_S)


def interpreter() -> InterpreterExecutor:
    """Start an interpreter."""
    return InterpreterExecutor(DEADLINE_S)


KINDS: list[Any] = [process, *([interpreter] if HAS_INTERPRETERS else [])]


@contextlib.asynccontextmanager
async def attached(kind: Any = process) -> AsyncIterator[Any]:
    """Start a worker, have the running loop watch it, and end it."""
    executor = await asyncio.to_thread(kind)
    executor.attach(asyncio.get_running_loop(), bool)
    try:
        yield executor
    finally:
        if isinstance(executor, ProcessExecutor):
            executor.kill()
        await asyncio.to_thread(executor.shutdown)
        await until(lambda: executor._sock.fileno() == -1, "it is closed")


async def results(*calls: "Future[Any]") -> list[Any]:
    """Wait for calls."""
    async with asyncio.timeout(DEADLINE_S):
        return await asyncio.gather(*map(asyncio.wrap_future, calls), return_exceptions=True)
