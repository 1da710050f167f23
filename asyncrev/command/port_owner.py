"""Which process listens on a TCP port, by the tables of /proc (proc_net_tcp(5))."""

import os
import re

from asyncrev.command.cgroups import text_of

__all__ = ["listener_of"]

_LISTEN = "0A"
_MOST_PROCESSES = 100_000


def listener_of(port: int, root: str = "/") -> str | None:
    """Return the process that listens on `port`, as "name (pid N)", or None if it is not visible.

    Processes of other users are visible to root only. `root` is the directory that contains the
    system's files. Thread: any.
    """
    inodes = _inodes(port, root)
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for pid in _numbers(os.path.join(root, "proc"))[:_MOST_PROCESSES]:
        directory = os.path.join(root, "proc", pid, "fd")
        for fd in _numbers(directory):
            try:
                link = os.readlink(os.path.join(directory, fd))
            except OSError:
                continue  # it has ended, or closed it
            if link in wanted:
                name = text_of(root, f"proc/{pid}/comm").strip()
                return f"{name or 'a process'} (pid {pid})"
    return None


def _inodes(port: int, root: str) -> set[str]:
    found = set()
    for table in ("proc/net/tcp", "proc/net/tcp6"):
        for line in text_of(root, table).splitlines()[1:]:
            fields = line.split()
            if len(fields) < 10 or fields[3] != _LISTEN:
                continue
            match = re.search(r":([0-9A-F]{4})$", fields[1])
            if match and int(match[1], 16) == port:
                found.add(fields[9])
    return found


def _numbers(directory: str) -> list[str]:
    try:
        return sorted((name for name in os.listdir(directory) if name.isdecimal()), key=int)
    except OSError:
        return []
