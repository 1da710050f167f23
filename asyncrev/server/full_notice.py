"""One line when a limit is reached, and one when it is left."""

import asyncio
import logging

__all__ = ["FullNotice"]

logger = logging.getLogger("asyncrev")

# A server at its limit is over and under it with every connection that ends.
NOTICE_AFTER_S = 1.0


class FullNotice:
    """Logs when a limit is reached, and, up to a second late, when it is left.

    So there is one such pair of lines in a second at most, and the last line is true. Thread: loop.
    """

    def __init__(self, limit: str, then: str, again: str) -> None:
        """Prepare to log that `limit` is reached, so `then`; and is left, so `again`."""
        self._limit = limit
        self._then = then
        self._again = again
        self._full = False
        self._told = False
        self._look_again: asyncio.TimerHandle | None = None

    def see(self, full: bool) -> None:
        """Take note whether the limit is reached."""
        if full and not self._told:
            self._told = True
            logger.warning("%s, is reached; %s", self._limit, self._then)
        elif not full and self._full and self._look_again is None:
            loop = asyncio.get_running_loop()
            self._look_again = loop.call_later(NOTICE_AFTER_S, self._look)
        self._full = full

    def close(self) -> None:
        """Look no more."""
        if self._look_again is not None:
            self._look_again.cancel()
            self._look_again = None

    def _look(self) -> None:
        self._look_again = None
        if not self._full:
            self._told = False
            logger.info("below %s, again; %s", self._limit, self._again)
