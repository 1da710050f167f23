"""Errors that belong to nobody who awaits something: the loop's exception handler gets them."""

import asyncio
import logging
from typing import Any

__all__ = ["report_to_loop"]

logger = logging.getLogger("asyncrev")


def report_to_loop(
    loop: asyncio.AbstractEventLoop, message: str, error: BaseException, **context: Any
) -> None:
    """Call `loop`'s exception handler with `message`, `error` and further `context`.

    What the handler raises, be it SystemExit, is logged: a handler that a program has set must not
    cost other connections their replies. Thread: `loop`'s.
    """
    try:
        loop.call_exception_handler({"message": message, "exception": error, **context})
    except BaseException:
        logger.exception("the loop's exception handler failed on: %s: %r", message, error)
