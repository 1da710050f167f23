"""Which requests are refused, because a browser may have been made to send them.

A web page that a user of this machine opens can have the browser send requests to loopback and
private addresses. It does not see the responses, unless it has its own name point here (DNS
rebinding): then `Host` has that name. No response has headers of CORS.
"""

import ipaddress
import socket

from asyncrev.admin.message import Request, Response, plain

__all__ = ["own_names", "refusal"]


def refusal(request: Request, own_names: frozenset[str]) -> Response | None:
    """Return the response to a request that is refused; None if it is not.

    `own_names`: names of this machine, in lower case, beside localhost.
    """
    if request.to_loopback and not _is_own(_host_of(request), own_names):
        return plain(
            421,
            "the Host of a request to a loopback address must be an address, localhost, or this "
            "machine's name",
        )
    if request.method not in ("GET", "HEAD"):
        if "origin" in request.headers:
            return plain(403, "requests of web pages (Origin) may not change anything")
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return plain(403, "requests of other sites (Sec-Fetch-Site) may not change anything")
    return None


def own_names(*further: str) -> frozenset[str]:
    """Return names of this machine, and `further` ones, in lower case."""
    return frozenset(name.lower() for name in (socket.gethostname(), *further) if name)


def _host_of(request: Request) -> str:
    """Return the host that the request names, without its port; "" if it names none."""
    scheme, separator, rest = request.target.partition("://")
    if separator and scheme.lower() == "http":  # it counts more than Host (RFC 9112, 3.2.2)
        host = rest.partition("/")[0]
    else:
        host = request.headers.get("host", "")
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_own(host: str, names: frozenset[str]) -> bool:
    name = host.lower().removesuffix(".")
    if name in ("", "localhost", *names) or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
