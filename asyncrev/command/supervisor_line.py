"""The line that reports what a supervisor's workers serve, and where."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from asyncrev.command.start_line import certificates_text, value_text
from asyncrev.command.supervisor_settings import SupervisorSettings
from asyncrev.server.listen_sockets import describe
from asyncrev.version import __version__

__all__ = ["supervisor_fields", "supervisor_line"]


def supervisor_line(
    settings: SupervisorSettings, addresses: Sequence[Any], worker: Mapping[str, Any]
) -> str:
    """Return the line for a service that listens on `addresses`.

    `worker`: what one of its workers said of itself; see `start_fields`.
    """
    where = ", ".join(describe(address) for address in addresses)
    if settings.tls is not None:
        where += f" (TLS, {certificates_text(settings.tls)})"
    if "proxy_protocol" in worker:
        proxies = ",".join(worker["proxy_from"])
        where += f" (PROXY headers, {worker['proxy_protocol']}, from {proxies})"
    values = _options(settings, worker)
    options = " ".join(f"{name}={value_text(value)}" for name, value in values.items())
    each = worker["memory_bound_bytes"]
    return (
        f"asyncrev {__version__} serving on {where} workers={settings.workers} "
        f"balance={settings.balance} {options} plane={worker['plane']} "
        f"memory_bound_bytes={settings.workers * each} ({settings.workers} x {each})"
        f"{'' if worker['replies_are_bounded'] else ' and replies, which have no bound'}"
    )


def supervisor_fields(
    settings: SupervisorSettings,
    addresses: Sequence[Any],
    worker: Mapping[str, Any],
    pids: Sequence[int],
) -> dict[str, Any]:
    """Return the parts of the line, for a log in JSON; `pids` are those of the workers."""
    each = worker["memory_bound_bytes"]
    return {
        **worker,
        "options": _options(settings, worker),
        "addresses": [describe(address) for address in addresses],
        "workers": settings.workers,
        "balance": settings.balance,
        "memory_bound_bytes": settings.workers * each,
        "worker_memory_bound_bytes": each,
        "supervisor_pid": os.getpid(),
        "worker_pids": list(pids),
    }


def _options(settings: SupervisorSettings, worker: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a worker; not its core, as others have others."""
    return {**worker["options"], "cpu": settings.value_of("cpu")}
