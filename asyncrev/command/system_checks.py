"""What the system's settings do to those of a server; one function per check, None if all is well.

`root` is the directory that contains the system's files. Thread: any.
"""

import re

from asyncrev.command.cgroups import text_of
from asyncrev.command.worker_count import cpu_quota

__all__ = ["backlog_warning", "cpu_warning", "syn_backlog_warning"]

_SOMAXCONN = "net.core.somaxconn"
_SYN_BACKLOG = "net.ipv4.tcp_max_syn_backlog"


def backlog_warning(backlog: int, root: str = "/") -> str | None:
    """Return a warning if the system shortens the accept queue (listen(2))."""
    most = _number(_SOMAXCONN, root)
    if most is None or most >= backlog:
        return None
    return (
        f"--backlog is {backlog}, but the system allows {most} ({_SOMAXCONN}); at more connections "
        f"that wait, clients retry after a second. Set it: sysctl -w {_SOMAXCONN}={backlog}"
    )


def syn_backlog_warning(backlog: int, root: str = "/") -> str | None:
    """Return a warning if fewer half-open connections than `backlog` are kept (tcp(7)).

    With SYN cookies, which most systems have on, such connections are not lost.
    """
    most = _number(_SYN_BACKLOG, root)
    if most is None or most >= backlog or _number("net.ipv4.tcp_syncookies", root):
        return None
    return (
        f"--backlog is {backlog}, but the system keeps {most} half-open connections "
        f"({_SYN_BACKLOG}) and has SYN cookies off; further ones are lost. Set it: sysctl -w "
        f"{_SYN_BACKLOG}={backlog}"
    )


def cpu_warning(workers: int, threads: int, root: str = "/") -> str | None:
    """Return a warning if workers are throttled by a CPU quota, or share the cores."""
    cores = cpu_quota(root)
    if workers * threads <= max(1.0, cores):
        return None
    what = f"--workers {workers}" if workers > 1 else f"--threads {threads}"
    if workers > 1 and threads > 1:
        what += f" with --threads {threads}"
    return (
        f"{what}: they share {cores:g} cores (affinity and CPU quota of the cgroups), and wait for "
        "each other; give --workers auto, or raise the quota"
    )


def _number(name: str, root: str) -> int | None:
    text = text_of(root, f"proc/sys/{name.replace('.', '/')}").strip()
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None
