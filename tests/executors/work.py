"""Functions that the tests have executors call; worker processes import them."""

import os
import signal
import sys
import time
from pathlib import Path


def flip(frame: bytes) -> bytes:
    """Answer with another case."""
    return frame.swapcase()


def flip_again(frame: bytes) -> bytes:
    """Answer with another case; may be repeated."""
    if frame.startswith(b"die"):
        os.kill(os.getpid(), signal.SIGKILL)
    return frame.swapcase()


flip_again.idempotent = True


def obey(frame: bytes) -> object:
    """Do what the frame says, and answer with another case."""
    word, _, rest = frame.partition(b" ")
    if word == b"die":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == b"hang":
        if rest:  # say so by a file
            Path(rest.decode()).touch()
        time.sleep(3600)
    if word == b"wait":  # for a file
        while not Path(rest.decode()).exists():
            time.sleep(0.002)
    if word == b"raise":
        raise ValueError(rest.decode())
    if word == b"unpicklable":
        raise Unpicklable(1, 2)
    if word == b"exit":
        raise SystemExit(3)
    if word == b"text":
        return "text"
    if word == b"pid":
        return b"%d" % os.getpid()
    if word == b"none":
        return None
    return frame.swapcase()


def wait_again(frame: bytes) -> object:
    """Do what `obey` does; may be repeated."""
    return obey(frame)


wait_again.idempotent = True


class Unpicklable(Exception):
    """Can be pickled, and not be made again."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__("one argument")

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return int, ("no number",)


def tried(frame: bytes) -> bytes:
    """Fails with an empty frame."""
    return frame[:1] + b"%d" % frame[0]


tried.may_be_tried = True


class Holder:
    """What executors cannot have."""

    def method(self, frame: bytes) -> bytes:
        """A method."""
        return frame

    @staticmethod
    def static(frame: bytes) -> bytes:
        """A function with a longer name."""
        return frame[::-1]


def sees_pytest(frame: bytes) -> bytes:
    """Say whether this runs in the interpreter of the tests."""
    return b"yes" if "pytest" in sys.modules else b"no"
