"""Becomes `asyncrev` with sockets passed as systemd passes them.

The environment variable PASS_FDS has their descriptors, with commas between them; PASS_NAMES has
what LISTEN_FDNAMES is to be.
"""

import fcntl
import os
import sys

FIRST_FD = 3
ASIDE_FD = 200


def main() -> None:
    """Move the descriptors to 3 and up, and execute asyncrev."""
    fds = [int(fd) for fd in os.environ.pop("PASS_FDS").split(",")]
    aside = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, ASIDE_FD) for fd in fds]
    for number, fd in enumerate(aside):
        os.dup2(fd, FIRST_FD + number)
    os.environ.update(
        LISTEN_FDS=str(len(fds)),
        LISTEN_PID=str(os.getpid()),
        LISTEN_FDNAMES=os.environ.pop("PASS_NAMES", ""),
    )
    os.execv(sys.executable, [sys.executable, "-m", "asyncrev", *sys.argv[1:]])


if __name__ == "__main__":
    main()
