"""Descriptors 0 to 2: closed ones are opened, and output that cannot be written is given up.

The next file or socket that is opened gets the lowest closed number (open(2)). What is then written
to stderr would go into that file, and libuv aborts when it closes one of these three.
"""

import os
import sys

__all__ = ["drop_unwritable_streams", "open_closed_streams"]

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_closed_streams() -> None:
    """Open /dev/null on each of 0 to 2 that is closed, and make the stream of `sys` for it.

    To be called before anything else is opened. Thread: main, while there is no other.

    Raises:
        OSError: /dev/null cannot be opened.
    """
    for fd, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(fd)
        except OSError:  # EBADF is the only one of an open descriptor's
            pass
        else:
            continue
        opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
        if opened != fd:
            os.dup2(opened, fd)
            os.close(opened)
        os.set_inheritable(fd, True)  # as standard descriptors are
        stream = os.fdopen(fd, mode, encoding="utf-8", errors="backslashreplace", closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def drop_unwritable_streams() -> None:
    """Give up what stdout and stderr cannot write: to a full disk, or to a pipe without a reader.

    The interpreter would try once more at its end, and exit with 120 for it (`sys.exit`).
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):  # ValueError: it is closed
            setattr(sys, name, None)
