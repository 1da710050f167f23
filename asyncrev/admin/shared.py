"""Answers that those who ask at the same time, or a moment later, share."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

__all__ = ["KEPT_S", "Shared"]

KEPT_S = 0.2
MOST_KEPT = 16


class Shared:
    """Makes an answer once for all who ask for it within `KEPT_S`. Thread: one, with its loop."""

    def __init__(self, kept_s: float = KEPT_S) -> None:
        self._kept_s = kept_s
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}
        self._done_s: dict[Hashable, float] = {}  # when each of those that are done was

    async def get(self, key: Hashable, make: Callable[[], Awaitable[Any]]) -> Any:
        """Return what `make` returns, or has returned for `key` less than `kept_s` ago.

        Whoever is cancelled while waiting cancels nobody else's answer.

        Raises: what `make` raises, to all who share it.
        """
        loop = asyncio.get_running_loop()
        task = self._tasks.get(key)
        if task is None or (task.done() and loop.time() - self._done_s[key] > self._kept_s):
            self._drop_oldest()
            self._tasks.pop(key, None)  # so that it is the newest
            task = self._tasks[key] = loop.create_task(self._make(key, make))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancel what is being made."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        self._done_s.clear()

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await make()
        finally:
            self._done_s[key] = asyncio.get_running_loop().time()

    def _drop_oldest(self) -> None:
        done = [key for key, task in self._tasks.items() if task.done()]
        for key in done[: max(0, len(self._tasks) - MOST_KEPT + 1)]:
            task = self._tasks.pop(key)
            del self._done_s[key]
            if not task.cancelled():
                task.exception()  # somebody who was cancelled may have been the only one to look
