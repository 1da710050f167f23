"""Options of `asyncrev serve`: where it listens, and to whom, by TLS and PROXY headers."""

from typing import Any

import click

from asyncrev.command.option import LISTENING, TIMEOUTS, Option, Said
from asyncrev.command.option_rows_limits import limit_row
from asyncrev.command.option_types import (
    ALPN,
    DESCRIPTOR,
    FILE_MODE,
    NETWORKS,
    PATHS,
    SECONDS,
    IntegerRange,
)
from asyncrev.command.units import format_seconds

__all__ = ["LISTENING_OPTIONS"]


def _tls(name: str, kind: "click.ParamType[Any]", text: str, **more: Any) -> Option:
    """Return the row of an option that means something with a certificate only."""
    return Option(
        name=name,
        type=kind,
        help=text,
        group=LISTENING,
        sets="tls",
        needs="ssl_certfile",
        needs_hint="name the certificate, too",
        **more,
    )


# In the order of the start line and, within a group, of the help.
LISTENING_OPTIONS = (
    Option(
        name="host",
        type=click.STRING,
        default="127.0.0.1",
        help="Address or name to listen on; * or an empty one for all interfaces, IPv4 and IPv6.",
        group=LISTENING,
        sets="host",
        excludes=("uds", "fd"),
        said=Said.ADDRESS,
    ),
    Option(
        name="port",
        type=IntegerRange(0, 65535),
        default=9090,
        help="Port to listen on; 0 takes a free one.",
        group=LISTENING,
        sets="port",
        excludes=("uds", "fd"),
        said=Said.ADDRESS,
    ),
    Option(
        name="uds",
        type=click.STRING,
        metavar="PATH",
        help="Listen on this UNIX socket instead.",
        group=LISTENING,
        sets="uds",
        excludes=("host", "port", "fd"),
        said=Said.ADDRESS,
    ),
    Option(
        name="uds_mode",
        type=FILE_MODE,
        default="0600",
        help="Mode of that socket, whatever the umask: 0660 lets the group connect, 0666 everyone.",
        group=LISTENING,
        sets="uds_mode",
        needs="uds",
        needs_hint="name the UNIX socket, too",
    ),
    Option(
        name="fd",
        type=DESCRIPTOR,
        metavar="N|NAME",
        help="Listen on this descriptor instead, a listening socket that the process was given, or "
        "on those of this name (FileDescriptorName= of systemd). Without it, on all that systemd "
        "passes.",
        group=LISTENING,
        sets="fd",
        excludes=("host", "port", "uds"),
        said=Said.ADDRESS,
    ),
    limit_row("backlog", LISTENING, "Length of the kernel's accept queue."),
    Option(
        name="ssl_certfile",
        type=PATHS,
        metavar="PATH",
        help="Serve TLS with this certificate chain (PEM). Repeat it for several: a client gets "
        "the first that has the host it names, or else the first of all.",
        group=LISTENING,
        sets="tls",
        repeatable=True,
        said=Said.ADDRESS,
    ),
    _tls(
        "ssl_keyfile",
        PATHS,
        "The private key of the certificate, if it is not in the same file; with several, as many "
        "keys in the same order.",
        metavar="PATH",
        repeatable=True,
    ),
    _tls(
        "ssl_ca_certs",
        click.STRING,
        "The authorities (PEM, a file or a directory of files) whose certificates clients may "
        "have.",
        metavar="FILE|DIR",
    ),
    _tls(
        "ssl_cert_reqs",
        click.Choice(["none", "optional", "required"]),
        "Whether a client must have a certificate; with optional, one that it has must be valid.",
        follows="required with --ssl-ca-certs, else none",
    ),
    _tls(
        "ssl_ciphers",
        click.STRING,
        "Ciphers for TLS 1.2, as a list of OpenSSL (openssl-ciphers(1)); those of TLS 1.3 are "
        "fixed.",
        metavar="LIST",
    ),
    _tls(
        "ssl_min_version",
        click.Choice(["1.2", "1.3"]),
        "Oldest version of TLS that is accepted.",
        default="1.2",
    ),
    _tls(
        "ssl_alpn",
        ALPN,
        "Protocols to agree on with clients that offer some (ALPN), the preferred one first.",
        metavar="PROTO[,PROTO...]",
    ),
    Option(
        name="proxy_protocol",
        type=click.Choice(["off", "v1", "v2", "any"]),
        default="off",
        help="Read a PROXY header of this version from the proxies in --proxy-from, before TLS.",
        group=LISTENING,
        sets="proxy",
        said=Said.ADDRESS,
    ),
    Option(
        name="proxy_from",
        type=NETWORKS,
        metavar="CIDR[,CIDR...]",
        help="Addresses and networks of these proxies, as 192.0.2.7 or 10.0.0.0/8; unix for all "
        "who connect to the UNIX socket. Others are served without a look for a header.",
        group=LISTENING,
        sets="proxy",
        needs="proxy_protocol",
        needs_hint="say which version they send, or any",
        repeatable=True,
    ),
    Option(
        name="proxy_timeout_s",
        type=SECONDS,
        default=format_seconds(3.0),
        help="Time in which a PROXY header must be complete, from accept.",
        group=TIMEOUTS,
        sets="proxy",
        needs="proxy_protocol",
        needs_hint="say which version to read, or any",
    ),
)
