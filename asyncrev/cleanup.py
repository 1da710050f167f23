"""Clean-up in steps, where one that fails skips no other."""

import logging
from collections.abc import Callable

__all__ = ["attempt"]

logger = logging.getLogger("asyncrev")


def attempt(what: str, step: Callable[[], object]) -> bool:
    """Call `step`; log an exception as the failure of `what`. Return whether there was none.

    What is no `Exception`, such as KeyboardInterrupt, is raised on. Thread: any.
    """
    try:
        step()
    except Exception as error:
        # As text: a record that somebody keeps would keep all that the traceback reaches.
        logger.error("clean-up goes on, but could not %s: %s", what, repr(error))
        return False
    return True
