"""Why a worker process has ended, for the log and for metrics. Pure."""

import dataclasses
import signal

from asyncrev.errors import AsyncrevError

__all__ = ["HUNG", "Cause", "WorkerFailed", "cause_of"]

HUNG = "hung"


class WorkerFailed(AsyncrevError):
    """A worker ended before it was ready.

    Attributes:
        code: its exit code.
    """

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


@dataclasses.dataclass(frozen=True, slots=True)
class Cause:
    """Why a process has ended.

    Attributes:
        label: of the metric: "exit 1", "SIGKILL", "hung".
        text: of the log.
        code: the exit code; 128 + the number for a signal, as shells have it.
        is_clean: whether the process has ended by itself without a mistake.
    """

    label: str
    text: str
    code: int
    is_clean: bool


def cause_of(return_code: int, *, hung: bool = False) -> Cause:
    """Return why a process has ended.

    Args:
        return_code: as `subprocess.Popen.returncode`: negative for a signal.
        hung: whether the supervisor has ended it, because it did not move.
    """
    if return_code >= 0:
        text = f"ended with code {return_code}"
        return Cause(HUNG if hung else f"exit {return_code}", text, return_code, return_code == 0)
    name = _name_of(-return_code)
    text = f"was ended by {name}" + (", because it did not move" if hung else "")
    return Cause(HUNG if hung else name, text, 128 - return_code, False)


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a realtime signal
        return f"signal {number}"
