"""The ready descriptors of one poll, as one entry of the loop's queue of callbacks.

Descriptors that are watched one by one are dispatched one by one. Those that are watched in batches
are passed to their handler together, if they follow each other in the order of the poll.
"""

import itertools
from typing import Any

from asyncrev.loop.selector import BatchHandler, Dispatch, Events, WatchingSelector

__all__ = ["HandledBatch", "ReadyBatch"]


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

    __slots__ = ("_changes", "_handler", "_selector")

    def __init__(
        self,
        loop: Any,
        watches: dict[int, Dispatch],
        selector: WatchingSelector,
        events: Events,
        handler: BatchHandler | None = None,
    ) -> None:
        """Prepare to dispatch `events`; all of them are of `handler`, if it is given."""
        self._loop, self._watches, self.events = loop, watches, events
        self._selector, self._handler, self._changes = selector, handler, selector.changes

    def _run(self) -> None:
        events, self.events = self.events or [], None
        batch_watches = self._selector.batch_watches
        fd, done = -1, 0  # how many events have been or are being dispatched
        try:
            if self._handler is not None and self._changes == self._selector.changes:
                fd, done = events[0][0], len(events)
                self._handler.on_ready_batch(events)
                return
            while done < len(events):
                fd, reported = events[done]
                dispatch = self._watches.get(fd)
                if dispatch is not None:
                    done += 1
                    dispatch(reported)
                elif (handler := batch_watches.get(fd)) is not None:
                    batch, done = self._batch_from(events, done, handler)
                    handler.on_ready_batch(batch)
                else:
                    done += 1
        except (SystemExit, KeyboardInterrupt):
            self._put_back(events[done:])
            raise
        except BaseException as error:
            self._report(fd, error)
            self._handler = None
            self.events = events[done:]
            self._run()  # at most as often as a poll has events

    def _put_back(self, rest: Events) -> None:
        again = HandledBatch(self._loop, self._watches, self._selector, rest)
        self._loop._ready.appendleft(again)

    def _batch_from(self, events: Events, start: int, handler: BatchHandler) -> tuple[Events, int]:
        # The second result is the index of the first event that belongs to another handler.
        batch: Events = []
        end, handler_of = start, self._selector.batch_watches.get
        for event in itertools.islice(events, start, None):
            owner = handler_of(event[0])
            if owner is None:
                if event[0] in self._watches:
                    break
                # Otherwise it is no longer watched.
            elif owner is handler:
                batch.append(event)
            else:
                break
            end += 1
        return batch, end
