"""The live figures as they come: server-sent events, or piece by piece for those who poll."""

import asyncio
import contextlib
import json
import logging
import time
from typing import Any

from asyncrev.admin.gathering import Gathering
from asyncrev.admin.history import PAUSED_BY, SERIES, History, Rates, ends_of
from asyncrev.version import __version__

__all__ = ["EVENT_STREAM", "MOST_STREAMS", "Live", "Stream"]

logger = logging.getLogger("asyncrev")

EVENT_STREAM = "text/event-stream"

MOST_STREAMS = 16  # of `MOST_CONNECTIONS`; whoever gets none may poll
STREAM_S = 600.0  # then it ends, and the browser opens another one

INTERVAL_S = 1.0  # while somebody looks
IDLE_INTERVAL_S = 10.0  # else, for a history to begin with
LOOKED_AT_S = 5.0  # for how long one who has polled is taken to look

_RETRY_MS = 2000


class Live:
    """The figures of one endpoint. All methods: its thread, with its loop."""

    def __init__(
        self,
        gathering: Gathering,
        *,
        interval_s: float = INTERVAL_S,
        idle_interval_s: float = IDLE_INTERVAL_S,
        stream_s: float = STREAM_S,
    ) -> None:
        """Take samples from `gathering`, from `watch` on."""
        self.interval_s = interval_s
        self.stream_s = stream_s
        self._gathering = gathering
        self._idle_interval_s = idle_interval_s
        self._loop = asyncio.get_running_loop()
        self._rates = Rates()
        self._history = History()
        self._now: dict[str, Any] = {"workers": [], "ends": {}}
        self._encoded: tuple[int, str] | None = None  # of the newest sample, for whoever asks alike
        self._streams = 0
        self._polled_s = float("-inf")
        self._wanted = asyncio.Event()  # somebody looks
        self._news = asyncio.Event()  # another one after each sample
        self._has_failed = False

    @property
    def newest_ms(self) -> int:
        """The time of the newest sample, 0 if there is none."""
        return self._history.newest_ms

    @property
    def is_looked_at(self) -> bool:
        """Whether there is a stream, or somebody has polled a moment ago."""
        return self._streams > 0 or self._loop.time() - self._polled_s < LOOKED_AT_S

    async def watch(self) -> None:
        """Take samples, often while somebody looks; does not return."""
        while True:
            begun_s = self._loop.time()
            try:
                await self._take()
            except Exception as error:  # a defect, which must end neither history nor log
                if not self._has_failed:
                    logger.error("admin endpoint: no live figures: %r", error)
                self._has_failed = True
            await asyncio.sleep(max(0.0, begun_s + self.interval_s - self._loop.time()))
            if not self.is_looked_at:
                self._wanted.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, self._idle_interval_s - self.interval_s)):
                        await self._wanted.wait()

    async def poll(self, after_ms: int) -> str:
        """Return as JSON what is newer than the sample of `after_ms`, and the state of now.

        Waits for the next sample if there is nothing newer.
        """
        self._polled_s = self._loop.time()
        self._wanted.set()
        if self.newest_ms <= after_ms:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2 * self.interval_s):
                    await self.next()
        return self.text(after_ms)

    def open(self, after_ms: int) -> "Stream | None":
        """Return a stream of what is newer than `after_ms`; None if there are enough streams.

        It has to be closed.
        """
        if self._streams >= MOST_STREAMS:
            return None
        self._streams += 1
        self._wanted.set()
        return Stream(self, after_ms)

    def end(self) -> None:
        """Count one stream less; for `Stream.close`."""
        self._streams -= 1

    async def next(self) -> None:
        """Wait for the next sample."""
        await self._news.wait()

    def text(self, after_ms: int) -> str:
        """Return what `poll` returns, at once."""
        if self._encoded is None or self._encoded[0] != after_ms:
            samples = ",".join(self._history.after(after_ms))
            head = json.dumps(
                {"version": __version__, "series": SERIES, "paused_by": PAUSED_BY, **self._now},
                separators=(",", ":"),
            )
            self._encoded = (after_ms, f'{head[:-1]},"samples":[{samples}]}}')
        return self._encoded[1]

    async def _take(self) -> None:
        answers = await self._gathering.ask("statistics")
        stuck = self._gathering.stuck()
        rows = self._rates.rows(
            self._loop.time(),
            [
                {"worker": answer.worker, "up": answer.said is not None, "why": answer.why}
                | (answer.said or {})
                for answer in answers
            ],
        )
        ends = ends_of(rows)
        for row in rows:
            row["stuck"] = stuck[row["worker"]]
            row.pop("ends", None)
        self._history.note(round(time.time() * 1000), rows, self._rates.quantiles)
        self._now = {"workers": rows, "ends": ends}
        self._encoded = None
        news, self._news = self._news, asyncio.Event()
        news.set()


class Stream:
    """One client's server-sent events (WHATWG HTML, 9.2): an asynchronous iterator of bytes.

    A client that is slow finds all samples that it has missed in the next event, at most those of
    the history, and the state of now.
    """

    def __init__(self, live: Live, after_ms: int) -> None:
        """Begin after the sample of `after_ms`."""
        self._live = live
        self._after_ms = after_ms
        self._end_s = asyncio.get_running_loop().time() + live.stream_s
        self._is_first = True
        self._is_closed = False

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> bytes:
        """Return the next event.

        Raises:
            StopAsyncIteration: the stream has its age.
        """
        live, is_first = self._live, self._is_first
        self._is_first = False
        if not (is_first and live.newest_ms):
            await live.next()
        if asyncio.get_running_loop().time() >= self._end_s:
            raise StopAsyncIteration
        text, self._after_ms = live.text(self._after_ms), live.newest_ms
        retry = f"retry: {_RETRY_MS}\n" if is_first else ""
        return f"{retry}id: {self._after_ms}\ndata: {text}\n\n".encode()

    def close(self) -> None:
        """Give its place back. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._live.end()
