"""Opening the files of `--tee` and `--access-log`: through no symbolic link, without waiting.

That of `--tee` contains what peers sent, so only the server's user may read it.
"""

import errno
import logging
import os
import re
import stat

from asyncrev.errors import LocalError

__all__ = ["close_tee", "open_tee"]

logger = logging.getLogger("asyncrev")

_NOT_WRITTEN_TO = "{} {!r} is neither a file nor a FIFO or character device"

# The name that a shell passes for >(command), and similar names: they refer to a descriptor that
# this process has inherited. The name is a symbolic link, but one of the system's (proc_pid_fd(5)).
_DESCRIPTOR = r"/(?:dev|proc/self)/fd/([0-9]{1,9})"


def open_tee(path: str, option: str = "--tee", mode: int = 0o600) -> int:
    """Return a descriptor for writing to `path`, or to stdout for "-"; writes may block.

    A new file gets `mode` or less; an existing file is appended to and keeps its mode. A FIFO
    with a reader and a character device, such as /dev/null, are written to directly.

    Raises:
        LocalError: `path` is a symbolic link, a FIFO without a reader, or of a type that is not
            supported.
        OSError: it cannot be opened; the message names the option and the path.
    """
    try:
        if path == "-":
            os.set_blocking(1, True)  # another process that shares it may have made it non-blocking
            return 1
        fd = _open(path, option, mode)
    except OSError as error:
        if error.errno == errno.ENXIO:  # whose text, "No such device or address", does not help
            _refuse_what_has_no_other_end(path, option)
        raise OSError(error.errno, f"{option} {path!r}: {error.strerror}") from None
    try:
        kind = os.fstat(fd).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind) or stat.S_ISCHR(kind)):
            raise LocalError(_NOT_WRITTEN_TO.format(option, path))
        os.set_blocking(fd, True)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _open(path: str, option: str, mode: int) -> int:
    given = re.fullmatch(_DESCRIPTOR, path)
    if given is not None:
        return os.dup(int(given[1]))
    if os.path.islink(path):  # O_NOFOLLOW below also refuses it; this gives the message
        raise LocalError(
            f"{option} {path!r} is a symbolic link, which is not followed; name the file that it "
            f"leads to (for standard output: {option} -)"
        )
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NOFOLLOW
    # Non-blocking, so that a FIFO without a reader is an error instead of a wait that no signal
    # ends.
    return os.open(path, flags | os.O_NONBLOCK, mode)


def _refuse_what_has_no_other_end(path: str, option: str) -> None:
    """Raise an error with the reason of ENXIO from open(2), if the type of the file shows it."""
    kind = os.stat(path).st_mode
    if stat.S_ISFIFO(kind):
        raise LocalError(f"{option} {path!r} is a FIFO without a reader; start its reader first")
    if stat.S_ISSOCK(kind):
        raise LocalError(_NOT_WRITTEN_TO.format(option, path))


def close_tee(fd: int, path: str, option: str = "--tee") -> None:
    """Close what `open_tee` returned, unless it is stdout; log an error of the last writes."""
    if fd <= 2:
        return
    try:
        os.close(fd)
    except OSError as error:  # ENOSPC, EDQUOT and EIO may be reported this late (close(2))
        logger.error("the end of what was written to %s %r may be lost: %s", option, path, error)
