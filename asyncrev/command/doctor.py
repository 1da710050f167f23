"""Checks of a machine and of the options with which a server would run on it: `asyncrev doctor`.

What `serve` warns of at its start is found by the same functions. Thread: main.
"""

import dataclasses
import errno
import importlib.util
import math
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from asyncrev.certificates import certificate_in_file
from asyncrev.command import config_check
from asyncrev.command.descriptor_limit import SPARE_DESCRIPTORS, descriptor_warning
from asyncrev.command.machine_memory import memory_limit, memory_warning
from asyncrev.command.option_values import OptionValue
from asyncrev.command.port_owner import listener_of
from asyncrev.command.settings import ServeSettings, settings_of
from asyncrev.command.system_checks import backlog_warning, cpu_warning, syn_backlog_warning
from asyncrev.command.worker_count import cpu_quota, worker_count
from asyncrev.native.choice import DESCRIPTION
from asyncrev.processors import declares
from asyncrev.server.memory_bound import MemoryBound

__all__ = ["ERROR", "OK", "WARNING", "Finding", "findings"]

OK, WARNING, ERROR = "ok", "warning", "error"

_FEW_DAYS = 14
_EXTRAS = {"ops": ("h11", "prometheus_client", "rich"), "uvloop": ("uvloop",)}
_ANY_HOST = {"", "*"}


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        check: what was checked, a word.
        level: `OK`, `WARNING` or `ERROR`.
        text: what was found.
        fix: a command or setting that changes it, or "".
    """

    check: str
    level: str
    text: str
    fix: str = ""


def findings(values: Sequence[OptionValue], root: str = "/") -> Iterator[Finding]:
    """Yield the result of each check; imports the processor, and binds the address for a moment.

    `root` is the directory that contains the system's files.
    """
    environment = dict(os.environ)
    verdict = config_check.check(values)
    os.environ.update(environment)  # the check takes those of systemd's sockets out
    for mistake in verdict.mistakes:
        yield Finding("options", ERROR, mistake, "asyncrev serve --help")
    for warning in verdict.warnings:
        yield Finding("options", WARNING, warning)
    if not verdict.mistakes:
        settings = settings_of(values)
        yield Finding("processor", OK, f"{settings.processor_name} loads, and has what it needs")
        yield from _of_settings(settings, root)
    yield from _of_process()
    yield from _of_installation(values)


def _of_settings(settings: ServeSettings, root: str) -> Iterator[Finding]:
    limits = settings.limits
    workers = worker_count(settings.workers, root)
    wanted = limits.max_connections + SPARE_DESCRIPTORS
    yield _judged(
        "descriptors",
        descriptor_warning(limits.max_connections),
        f"{wanted} can be open, for --max-connections {limits.max_connections}",
        f"ulimit -Hn {wanted}; under systemd, LimitNOFILE={wanted}",
    )
    if settings.uds is None and not settings.inherited.is_given:
        yield _judged(
            "syn-backlog", syn_backlog_warning(limits.backlog, root), "half-open ones are kept"
        )
    yield _judged(
        "backlog",
        backlog_warning(limits.backlog, root),
        f"the system allows --backlog {limits.backlog}",
    )
    yield from _address(settings)
    bound_bytes = workers * _bound_bytes(settings)
    memory = memory_limit(root)
    limit_mib = "no known limit" if memory is None else f"{memory.nbytes / 2**20:,.0f} MiB"
    yield _judged(
        "memory",
        memory_warning(
            bound_bytes,
            limits,
            framed=settings.framing != "raw",
            bridges=settings.threads,
            root=root,
        ),
        f"connections may hold {bound_bytes / 2**20:,.0f} MiB, of {limit_mib}",
    )
    yield _judged(
        "cpu",
        cpu_warning(workers, settings.threads, root),
        f"{workers} x {settings.threads} threads have {cpu_quota(root):g} cores",
    )


def _judged(check: str, warning: str | None, fine: str, fix: str = "") -> Finding:
    if warning is None:
        return Finding(check, OK, fine)
    if not fix and "Set it: " in warning:
        warning, _, fix = warning.partition(". Set it: ")
    return Finding(check, WARNING, warning, fix)


def _bound_bytes(settings: ServeSettings) -> int:
    return MemoryBound(
        settings.limits,
        bridges=settings.threads,
        framed=settings.framing != "raw",
        replies_fit=declares(settings.factory, "replies_fit"),
        tls=settings.tls is not None or declares(settings.factory, "may_start_tls"),
    ).total_bytes


def _address(settings: ServeSettings) -> Iterator[Finding]:
    if settings.inherited.is_given:
        yield Finding("address", OK, "sockets are passed to the process")
    elif settings.uds is not None:
        yield _path(settings.uds)
    else:
        yield _port(settings.host, settings.port)


def _path(path: str) -> Finding:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(os.fsencode(path))
        except FileNotFoundError:
            directory = os.path.dirname(path) or "."
            if os.access(directory, os.W_OK | os.X_OK):
                return Finding("address", OK, f"{path} can be made")
            return Finding(
                "address", ERROR, f"{path}: {directory} cannot be written", f"mkdir -p {directory}"
            )
        except ConnectionRefusedError:
            return Finding("address", OK, f"nobody listens on {path}; it will be replaced")
        except OSError as error:
            return Finding("address", ERROR, f"{path}: {error.strerror or error}")
    return Finding("address", ERROR, f"{path}: a server listens there", "stop it, or another --uds")


def _port(host: str, port: int) -> Finding:
    where = f"{host or '*'}:{port}"
    try:
        found = socket.getaddrinfo(
            None if host in _ANY_HOST else host,
            port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        return Finding("address", ERROR, f"host {host!r} has no address: {reason}")
    for family, _, _, _, target in found:
        address: Any = target
        try:
            socket.create_server(address, family=family).close()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                owner = listener_of(port) or "another process"
                return Finding(
                    "address", ERROR, f"{where} is in use by {owner}", "stop it, or another --port"
                )
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) or len(found) == 1:
                reason = os.strerror(error.errno) if error.errno else str(error)
                return Finding("address", ERROR, f"{where}: {reason}")
    return Finding("address", OK, f"{where} is free")


def _of_process() -> Iterator[Finding]:
    null = os.stat(os.devnull)
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            status = os.fstat(fd)
        except OSError:
            yield Finding("streams", WARNING, f"{name} is closed", f"open it: {fd}>/dev/null")
            continue
        if fd == 2 and status.st_rdev == null.st_rdev:
            yield Finding("streams", WARNING, "stderr is /dev/null, so there is no log")
        elif fd == 2:
            yield Finding("streams", OK, "stdin, stdout and stderr are open")


def _of_installation(values: Sequence[OptionValue]) -> Iterator[Finding]:
    asked = {value.option.name: value.value for value in values}
    for path in asked["ssl_certfile"] or ():
        try:
            days = certificate_in_file(path).days_left()
        except (OSError, ValueError):
            continue  # it is among the mistakes
        level = ERROR if days < 0 else WARNING if days < _FEW_DAYS else OK
        yield Finding(
            "certificate",
            level,
            f"{path} is valid for {math.floor(days)} days",
            "" if level == OK else "renew it, then send SIGHUP to the server",
        )
    is_native = DESCRIPTION.startswith("native")
    yield Finding(
        "plane",
        OK if is_native else WARNING,
        DESCRIPTION,
        "" if is_native else "install a C compiler, then asyncrev with ASYNCREV_BUILD=native",
    )
    for extra, modules in _EXTRAS.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        if not missing:
            yield Finding("extras", OK, f"{extra} is installed")
            continue
        is_needed = extra == "ops" and asked["admin"] is not None
        yield Finding(
            "extras",
            ERROR if is_needed else OK,
            f"{extra} is not installed" + (", and --admin needs it" if is_needed else ""),
            f"pip install 'asyncrev[{extra}]'" if is_needed else "",
        )
