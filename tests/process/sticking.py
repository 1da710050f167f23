"""A processor whose module has the loop's thread stand still for good at SIGUSR2.

Only server processes import it: importing sets the handler.
"""

import signal
import threading

from asyncrev import Reverse

__all__ = ["Reverse"]


def _stick(number: int, frame: object) -> None:
    threading.Event().wait()


signal.signal(signal.SIGUSR2, _stick)
