"""The line that reports what a server serves, where, and its memory bound."""

import math
import operator
from typing import Any

from asyncrev.command.option import Said
from asyncrev.command.options import OPTIONS
from asyncrev.command.settings import ServeSettings
from asyncrev.command.tls import Tls
from asyncrev.native.choice import DESCRIPTION
from asyncrev.server.listen_sockets import describe
from asyncrev.server.server import Server
from asyncrev.version import __version__

__all__ = ["certificates_text", "start_fields", "start_line", "value_text"]


def start_line(settings: ServeSettings, server: Server) -> str:
    """Return the line for a listening server, with the options that the table selects for it."""
    where = ", ".join(describe(address) for address in server.addresses)
    if settings.tls is not None:
        where += f" (TLS, {certificates_text(settings.tls)})"
    if settings.proxy is not None:
        proxies = ",".join(settings.proxy.trusted)
        where += f" (PROXY headers, {settings.proxy.version}, from {proxies})"
    options = " ".join(f"{name}={value_text(value)}" for name, value in _options(settings).items())
    return (
        f"asyncrev {__version__} serving on {where} {options} plane={DESCRIPTION} "
        f"memory_bound_bytes={server.memory_bound_bytes} ({_terms(settings, server)})"
        f"{'' if server.replies_are_bounded else ' and replies, which have no bound'}"
    )


def start_fields(settings: ServeSettings, server: Server) -> dict[str, Any]:
    """Return the parts of the line, for a log in JSON; what is endless or absent is text there."""
    limits = settings.limits
    fields: dict[str, Any] = {
        "version": __version__,
        "addresses": [describe(address) for address in server.addresses],
        "options": {
            name: "any" if value is None else value for name, value in _options(settings).items()
        },
        "plane": DESCRIPTION,
        "memory_bound_bytes": server.memory_bound_bytes,
        "memory_terms": {
            "rings": settings.threads,
            "ring_bytes": limits.ring_bytes,
            "pool_bytes": 0 if settings.framing == "raw" else limits.pool_bytes,
            "connections": limits.max_connections,
            "connection_bytes": server.connection_bytes,
        },
        "replies_are_bounded": server.replies_are_bounded,
    }
    if settings.proxy is not None:
        fields["proxy_protocol"] = settings.proxy.version
        fields["proxy_from"] = list(settings.proxy.trusted)
    if settings.tls is not None:
        fields["certificate_days_left"] = _days_left(settings.tls)
    return fields


def _options(settings: ServeSettings) -> dict[str, Any]:
    """Return the values that the table selects, in its order."""
    framed = settings.framing != "raw"
    said = (Said.ALWAYS, Said.FRAMED) if framed else (Said.ALWAYS,)
    return {
        option.name: operator.attrgetter(option.sets)(settings)
        for option in OPTIONS
        if option.said in said
    }


def _days_left(tls: Tls) -> int:
    return math.floor(min(certificate.days_left() for certificate in tls.certificates))


def certificates_text(tls: Tls) -> str:
    """Return when the certificate expires, or the first of several."""
    days = _days_left(tls)
    number = len(tls.certificates)
    which = "certificate" if number == 1 else f"first of {number} certificates"
    return f"{which} {'has expired' if days < 0 else f'expires in {days} days'}"


def _terms(settings: ServeSettings, server: Server) -> str:
    """Return the terms of the memory bound."""
    limits = settings.limits
    times = "" if settings.threads == 1 else f"{settings.threads} x "
    pool = "" if settings.framing == "raw" else f" + {times}pool {limits.pool_bytes}"
    connections = f"{limits.max_connections} x {server.connection_bytes}"
    return f"{times}ring {limits.ring_bytes}{pool} + {connections}, ..."


def value_text(value: Any) -> str:
    """Return the value of an option as the line has it."""
    if value is None:  # only --cpu can be None
        return "any"
    return f"{value:g}" if isinstance(value, float) else str(value)
