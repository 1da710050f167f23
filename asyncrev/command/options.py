"""The table of the options of `asyncrev serve`; everything that is said or done with one follows.

Click's parameters and the help (`click_options`), exclusions (`option_values`), the settings of a
server (`settings`), the start line (`start_line`) and the reference (`options_page`) are made from
`OPTIONS`. A new option is one row, and one field of `ServeSettings` or `Limits`; one that a reload
cannot change is also named in `config_reload.FIXED`.
"""

from typing import Any

import click

from asyncrev.command.option import (
    CONNECTIONS,
    LISTENING,
    LOG,
    PROCESSING,
    REPLIES,
    RING,
    TIMEOUTS,
    Option,
    Said,
)
from asyncrev.command.option_types import (
    ALPN,
    BYTES,
    CONFIG_PATH,
    DESCRIPTOR,
    FILE_MODE,
    NETWORKS,
    NOT_NEGATIVE_BYTES,
    PATHS,
    SECONDS,
    WORKERS,
    IntegerRange,
)
from asyncrev.command.units import format_bytes, format_seconds
from asyncrev.executors.settings import MOST_WORKERS
from asyncrev.frames.registry import FRAMINGS
from asyncrev.limits import Limits

__all__ = ["OPTIONS", "option_named"]


def _limit(
    name: str, group: str, text: str, *, follows: str = "", said: Said = Said.NEVER
) -> Option:
    """Return the row of an option that sets the field `name` of `Limits`; its unit is the type."""
    kind: click.ParamType[Any] = click.INT
    default: Any = getattr(Limits(), name)
    if name.endswith("_s") and not name.endswith("_bytes_per_s"):
        kind, default = SECONDS, format_seconds(default)
    elif name.endswith(("_bytes", "_bytes_per_s")):
        kind, default = BYTES, format_bytes(default)
    if follows:  # `Limits` says so by -1, which nobody who types it would mean
        kind, default = (NOT_NEGATIVE_BYTES if kind is BYTES else IntegerRange(0)), None
    return Option(
        name=name,
        type=kind,
        default=default,
        follows=follows,
        help=text,
        group=group,
        sets=f"limits.{name}",
        said=said,
    )


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


def _executor(
    name: str, kind: "click.ParamType[Any]", text: str, group: str = PROCESSING, **more: Any
) -> Option:
    """Return the row of an option that means something with an executor only."""
    return Option(
        name=name,
        type=kind,
        help=text,
        group=group,
        sets="executor",
        needs="executor",
        needs_hint="say which executor",
        **more,
    )


# The order of rows is that of the start line and, within a group, that of the help.
OPTIONS = (
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
    _limit("backlog", LISTENING, "Length of the kernel's accept queue."),
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
    Option(
        name="loop",
        type=click.Choice(["epoll", "asyncio", "uvloop"]),
        default="epoll",
        help="Event loop.",
        group=PROCESSING,
        sets="loop_name",
        said=Said.ALWAYS,
    ),
    Option(
        name="processor",
        type=click.STRING,
        default="asyncrev:Reverse",
        metavar="MODULE:ATTR",
        help="A class with process(chunk) and eof(), a factory of such objects, or a function "
        "bytes -> bytes. The current directory is searched last for the module, and not at all if "
        "PYTHONSAFEPATH is set.",
        group=PROCESSING,
        sets="processor_name",
        once=True,  # two processors are no pipeline
        said=Said.ALWAYS,
    ),
    Option(
        name="framing",
        type=click.Choice(["raw", *FRAMINGS]),
        default="raw",
        help="What is processed at a time: a chunk as the network split it, a line, or the payload "
        "behind a big-endian length of 4 or 8 bytes. Replies are framed in the same way.",
        group=PROCESSING,
        sets="framing",
        said=Said.ALWAYS,
    ),
    Option(
        name="cpu",
        type=click.STRING,
        default="auto",
        metavar="auto|any|N",
        help="Run the loop and the worker on one core, N: the hand-off is cheaper there. auto does "
        "so, on the core where the process starts, for a processor with a true `shares_core`; with "
        "TLS it uses all cores for as long as chunks are long. any leaves it to the system.",
        group=PROCESSING,
        sets="cpu",
        said=Said.ALWAYS,
    ),
    Option(
        name="threads",
        type=IntegerRange(1),
        default=1,
        help="Worker threads, each with its own ring; connections are spread over them. More than "
        "one is useful for a processor that releases the GIL for most of its time.",
        group=PROCESSING,
        sets="threads",
        said=Said.ALWAYS,
    ),
    Option(
        name="executor",
        type=click.STRING,
        metavar="KIND|MODULE:FACTORY",
        help="Have each frame answered by a worker of an executor: processes, threads, "
        "interpreters (Python 3.14), dask (needs asyncrev[dask]), or what a function without "
        "arguments returns. --processor is then a function bytes -> bytes of a module.",
        group=PROCESSING,
        sets="executor",
    ),
    _executor(
        "executor_workers",
        IntegerRange(1, MOST_WORKERS),
        "Workers of that executor; without it, one per core.",
    ),
    _executor(
        "executor_address",
        click.STRING,
        "The scheduler of a Dask cluster; without it, a cluster is started on this machine.",
        metavar="tcp://HOST:PORT",
    ),
    _executor(
        "executor_batch_frames",
        IntegerRange(1, 1024),
        "Frames, of any connections, that a worker gets at once, if so many are ready.",
        default=16,
    ),
    _executor(
        "executor_batch_bytes",
        BYTES,
        "Bytes of frames at which such a batch is full; a longer frame goes alone.",
        default=format_bytes(256 * 1024),
    ),
    _executor(
        "executor_timeout_s",
        SECONDS,
        "Time that a worker may take for a batch; then it is ended, and another one starts. inf "
        "for no limit.",
        default=format_seconds(30.0),
        group=TIMEOUTS,
    ),
    Option(
        name="workers",
        type=WORKERS,
        default=1,
        metavar="N|auto",
        help="Processes that serve, each with its own limits; with more than 1 a supervisor keeps "
        "them running. auto takes one per core, or fewer by the CPU quota.",
        group=PROCESSING,
        sets="workers",
    ),
    Option(
        name="balance",
        type=click.Choice(["exact", "kernel"]),
        default="exact",
        help="How workers get connections: exact has the supervisor accept, and give each to the "
        "worker with the fewest; kernel has them accept by themselves, over TCP.",
        group=PROCESSING,
        sets="balance",
        needs="workers",
        needs_hint="say how many",
    ),
    Option(
        name="restart_limit",
        type=IntegerRange(0),
        default=10,
        help="Deaths of workers within 60 s at which the service drains and ends; 0 for no limit.",
        group=PROCESSING,
        sets="restart_limit",
        needs="workers",
        needs_hint="say how many",
    ),
    Option(
        name="stop_word",
        type=click.STRING,
        metavar="WORD",
        help="Drain and stop when a client sends this, whole or in pieces; with a framing, when a "
        "frame is equal to it.",
        group=PROCESSING,
        sets="stop_word",
    ),
    Option(
        name="tee",
        type=click.STRING,
        metavar="PATH|-",
        help="Write the received bytes to this file, or to stdout. SIGHUP reopens it.",
        group=PROCESSING,
        sets="tee",
    ),
    _limit("slots", RING, "Large chunks that the ring holds at once.", said=Said.ALWAYS),
    _limit(
        "slot_bytes",
        RING,
        "Bytes of a slot, hence of the largest chunk.",
        said=Said.ALWAYS,
    ),
    _limit(
        "entries",
        RING,
        "Chunks that the ring holds at once, small and large.",
        follows="four times --slots",
        said=Said.ALWAYS,
    ),
    _limit(
        "in_flight_entries",
        RING,
        "Ring entries of one connection at which it is no longer read.",
    ),
    _limit(
        "in_flight_bytes",
        RING,
        "Bytes of one connection in the ring at which it is no longer read.",
    ),
    _limit(
        "max_connections",
        CONNECTIONS,
        "Open connections at which accepting stops; the accept queue holds further ones.",
        said=Said.ALWAYS,
    ),
    _limit(
        "max_connections_per_ip",
        CONNECTIONS,
        "Open connections of an IPv4 address, or an IPv6 /64, at which further ones are reset; 0 "
        "for no limit.",
    ),
    _limit(
        "tls_handshakes_in_flight",
        CONNECTIONS,
        "Connections that may be within their TLS handshake at once; further ones wait.",
    ),
    _limit(
        "max_frame_bytes",
        CONNECTIONS,
        "Longest payload of a frame; a longer one ends its connection.",
        said=Said.FRAMED,
    ),
    _limit(
        "pool_bytes",
        CONNECTIONS,
        "What all framed connections together may hold of unfinished frames, input on its way and "
        "unsent replies.",
        said=Said.FRAMED,
    ),
    _limit(
        "pool_connection_bytes",
        CONNECTIONS,
        "What one connection may hold of the buffer pool.",
        follows="twice what the longest frame needs",
        said=Said.FRAMED,
    ),
    _limit(
        "partial_frame_bytes",
        CONNECTIONS,
        "Input that each framed connection may have on its way, or hold, without asking the pool.",
    ),
    _limit(
        "frame_timeout_s",
        TIMEOUTS,
        "Time in which a frame must be complete, from its first byte; inf for no limit.",
        said=Said.FRAMED,
    ),
    _limit(
        "pending_per_connection",
        REPLIES,
        "Requests of a connection to a coroutine or executor that may be without a reply before it "
        "is no longer read.",
    ),
    _limit(
        "pending_total",
        REPLIES,
        "Such requests of all connections that run at once; others wait for them.",
    ),
    _limit(
        "pending_total_bytes",
        REPLIES,
        "What their input and replies may take before only connections without one start one.",
    ),
    _limit(
        "processor_timeout_s",
        TIMEOUTS,
        "Time in which a coroutine must answer; inf for no limit.",
    ),
    _limit(
        "high_water_bytes",
        REPLIES,
        "Unsent replies of a connection at which it is no longer read.",
        said=Said.ALWAYS,
    ),
    _limit(
        "low_water_bytes",
        REPLIES,
        "Unsent replies of a connection at which it is read again.",
        follows="a quarter of --high-water-bytes",
    ),
    _limit(
        "max_reply_bytes",
        REPLIES,
        "Longest reply to one chunk or frame; a longer one is an error of the processor, unless it "
        "is no longer than what it answers. 0 for no bound.",
        follows="as --max-frame-bytes",
        said=Said.ALWAYS,
    ),
    _limit(
        "first_byte_timeout_s",
        TIMEOUTS,
        "Time in which a new connection must send its first byte; inf for no limit.",
        said=Said.ALWAYS,
    ),
    _limit(
        "idle_timeout_s",
        TIMEOUTS,
        "Time without input after which a connection that awaits no reply is closed; inf for no "
        "limit.",
        said=Said.ALWAYS,
    ),
    _limit("tls_handshake_timeout_s", TIMEOUTS, "Time in which a TLS handshake must be complete."),
    _limit(
        "write_stall_timeout_s",
        TIMEOUTS,
        "Time in which a peer must take some of its replies.",
        said=Said.ALWAYS,
    ),
    _limit(
        "min_rate_bytes_per_s",
        TIMEOUTS,
        "Bytes per second, on the average of 10 s, that a peer must send of a frame that it has "
        "begun, and take of its replies; 0 for no limit.",
    ),
    _limit(
        "max_connection_age_s",
        TIMEOUTS,
        "Age, plus or minus a tenth, at which a connection is closed once what has arrived is "
        "answered; inf for no limit.",
    ),
    _limit(
        "drain_timeout_s",
        TIMEOUTS,
        "Time that a stop by signal leaves to answer what has arrived.",
        said=Said.ALWAYS,
    ),
    _limit(
        "linger_timeout_s",
        TIMEOUTS,
        "Time that a connection waits, after its last reply, for the peer to close.",
    ),
    Option(
        name="drain_delay_s",
        type=SECONDS,
        default="0",
        help="Time after a stop, other than SIGINT, in which connections are still accepted while "
        "/readyz of --admin says no; 5 under Kubernetes.",
        group=TIMEOUTS,
        sets="drain_delay_s",
    ),
    Option(
        name="drain_spread_s",
        type=SECONDS,
        default="0",
        help="Time, of that of the drain, over which connections are told to end, at even "
        "distances, so that clients do not all connect elsewhere at the same moment.",
        group=TIMEOUTS,
        sets="drain_spread_s",
    ),
    Option(
        name="hung_after_s",
        type=SECONDS,
        default=format_seconds(30.0),
        help="Time after which a worker whose loop, or a thread with something to do, does not "
        "move is ended, and started again; inf for no limit.",
        group=TIMEOUTS,
        sets="hung_after_s",
        needs="workers",
        needs_hint="say how many",
    ),
    Option(
        name="admin",
        type=click.STRING,
        metavar="unix:PATH|HOST:PORT",
        help="Serve metrics, health and statistics there, by HTTP; a UNIX socket has mode 0600. "
        "Needs asyncrev[ops].",
        group=LOG,
        sets="admin",
    ),
    Option(
        name="config",
        type=CONFIG_PATH,
        metavar="PATH",
        help="Take options from this TOML file, too; flags and variables come first. `asyncrev "
        "config show` prints the result.",
        group=LOG,
        sets="",
    ),
    Option(
        name="log_level",
        type=click.Choice(["debug", "info", "warning", "error", "critical"]),
        default="info",
        help="Lowest level of the records that are logged to stderr.",
        group=LOG,
        sets="log_level",
    ),
    Option(
        name="log_format",
        type=click.Choice(["text", "json"]),
        default="text",
        help="The form of the log on stderr and of the access log: text, or one JSON object per "
        "line.",
        group=LOG,
        sets="log_format",
    ),
    Option(
        name="access_log",
        type=click.STRING,
        metavar="PATH|-",
        help="Write a line per closed connection to this file, or to stdout. SIGHUP reopens it.",
        group=LOG,
        sets="access_log",
    ),
)

_BY_NAME = {option.name: option for option in OPTIONS}


def option_named(name: str) -> Option:
    """Return the row of that name.

    Raises:
        KeyError: there is none.
    """
    return _BY_NAME[name]
