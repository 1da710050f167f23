"""The ready descriptors of one poll, as one entry of the loop's queue of callbacks.

Descriptors that are watched one by one are dispatched one by one. Those that are watched in batches
are passed to their handler together, if they follow each other in the order of the poll.
"""

import itertools
from array import array
from typing import Any, TypeAlias

from asyncrev.loop.selector import BatchHandler, BatchWatch, Dispatch

__all__ = ["HandledBatch", "ReadyBatch", "batch_of_one"]

Events: TypeAlias = list[tuple[int, int]]  # (descriptor, epoll's events), in the order of the poll


class ReadyBatch:
    """Events of descriptors that are watched one by one, as one entry of the loop's `_ready`.

    Like a Handle for every event, which is what asyncio puts there, it runs after what was ready
    before the poll and before the timers that are due, and what it schedules runs after another
    poll. Handles would cost about as much again as receiving the input.
    """

    __slots__ = ("_loop", "_watches", "events")

    # The attributes of a Handle that `_run_once` reads; `_callback` only after a callback sets
    # debug mode.
    _cancelled = False
    _callback = None

    def __init__(self, loop: Any, watches: dict[int, Dispatch]) -> None:
        self._loop = loop
        self._watches = watches
        self.events: Events | None = None  # None: not in `_ready`

    def __repr__(self) -> str:
        # Shown in asyncio's log of slow callbacks if an earlier callback has set debug mode.
        return f"<events of streams of {self._loop!r}>"

    def _run(self) -> None:
        events, self.events = self.events, None
        rest, watches = iter(events or ()), self._watches
        fd = -1
        try:
            for fd, reported in rest:
                # Looked up now, because an earlier callback may have closed the descriptor.
                dispatch = watches.get(fd)
                if dispatch is not None:
                    dispatch(reported)
        except (SystemExit, KeyboardInterrupt):
            self._put_back(list(rest))
            raise
        except BaseException as error:
            self._report(fd, error)
            self.events = list(rest)
            self._run()  # at most as often as a poll has events

    def _put_back(self, rest: Events) -> None:
        self._loop._ready.appendleft(self._loop._batch_of(rest))

    def _report(self, fd: int, error: BaseException) -> None:
        message = f"Exception in the dispatch of events of descriptor {fd}"
        self._loop.call_exception_handler({"message": message, "exception": error})


class HandledBatch(ReadyBatch):
    """A `ReadyBatch` that also has events of descriptors that are watched in batches."""

    __slots__ = ("_batch_watches",)

    def __init__(
        self,
        loop: Any,
        watches: dict[int, Dispatch],
        batch_watches: dict[int, BatchWatch],
        events: Events,
    ) -> None:
        super().__init__(loop, watches)
        self._batch_watches = batch_watches
        self.events = events

    def _run(self) -> None:
        events, self.events = self.events or [], None
        fd, done = -1, 0  # how many events have been or are being dispatched
        try:
            while done < len(events):
                fd, reported = events[done]
                dispatch = self._watches.get(fd)
                if dispatch is not None:
                    done += 1
                    dispatch(reported)
                elif (batch_watch := self._batch_watches.get(fd)) is not None:
                    handler = batch_watch[0]
                    keys, masks, done = self._batch_from(events, done, handler)
                    handler.on_ready_batch(keys, masks)
                else:
                    done += 1
        except (SystemExit, KeyboardInterrupt):
            self._put_back(events[done:])
            raise
        except BaseException as error:
            self._report(fd, error)
            self.events = events[done:]
            self._run()  # at most as often as a poll has events

    def _put_back(self, rest: Events) -> None:
        again = HandledBatch(self._loop, self._watches, self._batch_watches, rest)
        self._loop._ready.appendleft(again)

    def _batch_from(
        self, events: Events, start: int, handler: BatchHandler
    ) -> tuple["array[int]", "array[int]", int]:
        # The third result is the index of the first event that belongs to another handler.
        keys: list[int] = []
        masks: list[int] = []
        end, watch_of = start, self._batch_watches.get
        for fd, reported in itertools.islice(events, start, None):
            batch_watch = watch_of(fd)
            if batch_watch is None:
                if fd in self._watches:
                    break
                # Otherwise it is no longer watched.
            elif batch_watch[0] is handler:
                keys.append(batch_watch[1])
                masks.append(reported)
            else:
                break
            end += 1
        return array("q", keys), array("I", masks), end


def batch_of_one(key: int, events: int) -> tuple["array[int]", "array[int]"]:
    """Return the arguments of `BatchHandler.on_ready_batch` for a single event."""
    return array("q", (key,)), array("I", (events,))
