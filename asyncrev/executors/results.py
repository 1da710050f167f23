"""What a worker of an executor sends back of one frame: a reply, or what it has raised.

An exception travels as bytes of its own. One that cannot be pickled, or cannot be made again from
its pickle, would else cost its batch mates their replies, and a process pool all its work: the
thread that reads results ends on it (https://github.com/python/cpython/issues/120508).
"""

import pickle
import traceback
from typing import NamedTuple

from asyncrev.errors import ProcessorError

__all__ = ["FrameFailure", "failure_of"]

MOST_TEXT_CHARS = 4096  # of a traceback that travels; its end, where the error is


class FrameFailure(NamedTuple):
    """That a function has raised, as a worker reports it.

    Attributes:
        type_name: of the exception.
        text: of the exception.
        where: the last lines of its traceback in the worker.
        pickled: the exception itself, or None if it cannot travel.
    """

    type_name: str
    text: str
    where: str
    pickled: bytes | None

    def error(self) -> BaseException:
        """Return the exception, or a `ProcessorError` in the place of one that cannot travel."""
        error: object = None
        if self.pickled is not None:
            try:
                error = pickle.loads(self.pickled)
            except Exception:  # its class is not the same here
                pass
        if not isinstance(error, BaseException):
            error = ProcessorError(f"a processor raised {self.type_name}: {self.text}")
        error.add_note(f"In a worker of the executor:\n{self.where}")
        return error


def failure_of(error: BaseException) -> FrameFailure:
    """Return what is sent of an exception. Thread: the executor's worker."""
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    try:
        text = str(error)
    except Exception:
        text = "(it cannot be written as text)"
    return FrameFailure(
        type(error).__name__,
        text[:MOST_TEXT_CHARS],
        "".join(lines)[-MOST_TEXT_CHARS:],
        _pickled(error),
    )


def _pickled(error: BaseException) -> bytes | None:
    """Return `error` as bytes if it can be made again from them, else None."""
    if not isinstance(error, Exception):  # SystemExit, say, would end the wrong process
        return None
    try:
        pickled = pickle.dumps(error)
        same = type(pickle.loads(pickled)) is type(error)
    except Exception:  # of its own methods, too
        return None
    return pickled if same else None
