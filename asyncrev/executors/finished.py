"""Batches whose calls are done, from whichever thread they are done on to the loop.

Futures are done on threads of executors, or on the loop's, as those of worker processes are. Either
way one callback of the loop collects all (I6: it clears the request, then reads).
"""

import asyncio
import collections
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any

from asyncrev.executors.batching import Batch
from asyncrev.ring.wakeups import DeliverySignal

__all__ = ["FinishedBatches"]


class FinishedBatches:
    """Tells the loop of batches that are done. Thread: loop, if not said otherwise."""

    def __init__(self, collect: Callable[[], object]) -> None:
        """Prepare; `collect` is called on the loop, when `take_all` has something."""
        self._collect = collect
        self._done: collections.deque[Batch] = collections.deque()  # appended by any thread
        self._signal = DeliverySignal(self._post)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0  # both are set by `open` only, before the first batch
        self._is_planned = False

    def open(self) -> None:
        """Note which loop is told."""
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()

    def watch(self, batch: Batch) -> None:
        """Tell of `batch` when its call is done."""
        assert batch.future is not None
        batch.future.add_done_callback(partial(self._note, batch))

    def take_all(self) -> Iterator[Batch]:
        """Take those that are done and are not over."""
        while self._done:
            batch = self._done.popleft()
            if not batch.is_over:
                yield batch

    def _note(self, batch: Batch, future: "Future[Any]") -> None:
        """Take note of a result. Thread: any, the executor's."""
        self._done.append(batch)  # ORDER: before the request (I6)
        if threading.get_ident() == self._loop_thread:
            if not self._is_planned:
                self._is_planned = True
                asyncio.get_running_loop().call_soon(self._run)
            return
        try:
            self._signal.request()
        except RuntimeError:  # the loop is closed
            pass

    def _post(self) -> None:
        """Have the loop collect results. Thread: any."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._run)

    def _run(self) -> None:
        self._is_planned = False
        self._signal.clear()  # ORDER: before `_done` is read (I6)
        self._collect()
