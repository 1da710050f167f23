"""Descriptors 0 to 2: closed ones are opened, and output that cannot be written is discarded.

A file or socket that is opened gets the lowest free number (open(2)). If that is 2, text for stderr
is written into it, and libuv aborts when it closes one of these three.
"""

import os
import sys

__all__ = ["drop_unwritable_streams", "open_closed_streams"]

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_closed_streams() -> None:
    """Open /dev/null on each of 0 to 2 that is closed, and create the stream in `sys` for it.

    Call it before anything else is opened. Thread: main, while there is no other.

    Raises:
        OSError: /dev/null cannot be opened.
    """
    for fd, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(fd)
        except OSError:  # only EBADF is possible
            pass
        else:
            continue
        opened = os.open(os.devnull, os.O_RDWR)  # the lowest free number
        if opened != fd:
            os.dup2(opened, fd)
            os.close(opened)
        os.set_inheritable(fd, True)  # like standard descriptors
        stream = os.fdopen(fd, mode, encoding="utf-8", errors="backslashreplace", closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def drop_unwritable_streams() -> None:
    """Discard what stdout and stderr cannot write, to a full disk or a pipe without a reader.

    The interpreter would try again at its end, and exit with 120 (`sys.exit`).
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):  # ValueError: the stream is closed
            setattr(sys, name, None)
