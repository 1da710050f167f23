"""The command line: `asyncrev serve`. It alone installs signal handlers and speaks to people."""

import asyncio
import contextlib
import importlib
import os
import platform
import ssl as ssl_module
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

import click

from asyncrev.affinity import choose_cpu
from asyncrev.errors import LocalError, SettingsError
from asyncrev.framing import FRAMINGS
from asyncrev.limits import MOST_C_INT, Limits
from asyncrev.option_types import FILE_MODE
from asyncrev.processors import as_factory
from asyncrev.serving import EXIT_RUNTIME_ERROR, EXIT_USAGE, ServeOptions, serve_until_signal
from asyncrev.version import __version__

__all__ = ["main"]

DEFAULTS = Limits()

Function = TypeVar("Function", bound=Callable[..., Any])


def _version_line() -> str:
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    return (
        f"asyncrev {__version__} (loop epoll, {platform.python_implementation()} "
        f"{platform.python_version()}, GIL {'on' if gil else 'off'})"
    )


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        click.echo(_version_line())
        context.exit()


def _option(*names: str, **settings: Any) -> Callable[[Function], Function]:
    """Declare an option that can also be set by ASYNCREV_<NAME>."""
    variable = "ASYNCREV_" + names[0].lstrip("-").upper().replace("-", "_")
    return click.option(*names, envvar=variable, show_envvar=True, show_default=True, **settings)


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    """Say what is wrong with the arguments in one line, without click's three of usage."""
    try:
        yield
    except click.UsageError as error:
        if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
            raise  # click 8.2 and later show the help by it
        _fail(EXIT_USAGE, error.format_message())


class _Commands(click.Group):
    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _one_line_errors():
            return super().make_context(*args, **extra)

    def invoke(self, context: click.Context) -> Any:
        with _one_line_errors():
            return super().invoke(context)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version, with loop, Python and GIL, and exit.",
)
def main() -> None:
    """Receive bytes, process them in order on a worker thread, send the results back."""


@main.command()
@_option("--host", default="127.0.0.1", help="Address to listen on.")
@_option("--port", default=9090, type=click.IntRange(0, 65535), help="Port; 0 takes a free one.")
@_option("--uds", metavar="PATH", help="Listen on this UNIX socket instead.")
@_option(
    "--uds-mode",
    default="0600",
    type=FILE_MODE,
    help="Mode of that socket, whatever the umask: 0660 lets the group connect, 0666 everybody.",
)
@_option(
    "--fd",
    type=click.IntRange(0, MOST_C_INT),
    help="Listen on this descriptor instead, a listening socket that the process was given.",
)
@_option("--ssl-certfile", metavar="PATH", help="Serve TLS with this certificate chain (PEM).")
@_option("--ssl-keyfile", metavar="PATH", help="Its private key, if it is not in the same file.")
@_option(
    "--loop",
    "loop_name",
    default="epoll",
    type=click.Choice(["epoll", "asyncio", "uvloop"]),
    help="Event loop.",
)
@_option(
    "--processor",
    default="asyncrev:Reverse",
    metavar="MODULE:ATTR",
    help="A class with process(chunk) and eof(), a factory of such, or a function bytes -> bytes.",
)
@_option(
    "--framing",
    default="raw",
    type=click.Choice(["raw", *FRAMINGS]),
    help="What is processed at a time: a chunk as the network cut it, a line, or the payload "
    "behind a big-endian length of 4 or 8 bytes; replies are framed likewise.",
)
@_option(
    "--max-frame-bytes",
    default=DEFAULTS.max_frame_bytes,
    type=int,
    help="Longest payload of a frame; a longer one ends its connection.",
)
@_option(
    "--pool-bytes",
    default=DEFAULTS.pool_bytes,
    type=int,
    help="What all framed connections together may hold of unfinished frames, and the like.",
)
@_option(
    "--pool-connection-bytes",
    default=None,
    type=int,
    help="The most of the pool for one connection; by default twice what the longest frame needs.",
)
@_option(
    "--slots", default=DEFAULTS.slots, type=int, help="Large chunks that the ring holds at once."
)
@_option(
    "--slot-bytes",
    default=DEFAULTS.slot_bytes,
    type=int,
    help="Bytes of a slot, hence of the largest chunk.",
)
@_option(
    "--entries",
    default=None,
    type=int,
    help="Chunks that the ring holds at once, small and large; by default four times the slots.",
)
@_option(
    "--max-connections",
    default=DEFAULTS.max_connections,
    type=int,
    help="Open connections at which accepting stops; the kernel's backlog holds the rest.",
)
@_option("--backlog", default=DEFAULTS.backlog, type=int, help="Length of the accept queue.")
@_option(
    "--in-flight-entries",
    default=DEFAULTS.in_flight_entries,
    type=int,
    help="Entries that one connection may have in the ring before it is no longer read.",
)
@_option(
    "--in-flight-bytes",
    default=DEFAULTS.in_flight_bytes,
    type=int,
    help="Likewise, in bytes.",
)
@_option(
    "--inline-below-bytes",
    default=DEFAULTS.inline_below_bytes,
    type=int,
    help="Chunks shorter than this are worked on in the loop, if the processor allows it; 0: none.",
)
@_option(
    "--high-water-bytes",
    default=DEFAULTS.high_water_bytes,
    type=int,
    help="Unsent replies of a connection at which it is no longer read.",
)
@_option(
    "--first-byte-timeout-s",
    default=DEFAULTS.first_byte_timeout_s,
    type=float,
    help="Seconds in which a new connection must send something; inf for no limit.",
)
@_option(
    "--idle-timeout-s",
    default=DEFAULTS.idle_timeout_s,
    type=float,
    help="Seconds without input after which a connection that is owed nothing is closed, or inf.",
)
@_option(
    "--frame-timeout-s",
    default=DEFAULTS.frame_timeout_s,
    type=float,
    help="Seconds in which a frame must be complete, from its first byte, or inf.",
)
@_option(
    "--write-stall-timeout-s",
    default=DEFAULTS.write_stall_timeout_s,
    type=float,
    help="Seconds in which a peer must take some of its replies.",
)
@_option(
    "--drain-timeout-s",
    default=DEFAULTS.drain_timeout_s,
    type=float,
    help="Seconds that SIGTERM or SIGINT leaves to answer what has arrived.",
)
@_option(
    "--threads",
    default=1,
    type=click.IntRange(1),
    help="Worker threads, each with a ring of its own; connections are spread over them. For a "
    "processor that releases the GIL for most of its time.",
)
@_option(
    "--cpu",
    default="auto",
    metavar="auto|any|N",
    help="Run loop and worker on one core, N: the hand-off is cheaper there. auto does so, on the "
    "core where it starts, for a processor with a true `shares_core`; any leaves it to the system.",
)
@_option(
    "--log-level",
    default="info",
    type=click.Choice(["debug", "info", "warning", "error", "critical"]),
    help="What is logged on stderr.",
)
@_option(
    "--stop-word",
    metavar="WORD",
    help="A client that sends this, whole or in pieces (with framing: a frame equal to it), makes "
    "the server drain and stop.",
)
@_option("--tee", metavar="PATH|-", help="Write the bytes received to this file, or to stdout.")
def serve(
    host: str,
    port: int,
    uds: str | None,
    uds_mode: int,
    fd: int | None,
    ssl_certfile: str | None,
    ssl_keyfile: str | None,
    threads: int,
    loop_name: str,
    processor: str,
    framing: str,
    stop_word: str | None,
    tee: str | None,
    cpu: str,
    log_level: str,
    **limits: Any,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal cuts at once.

    Exit codes: 0 clean, 1 runtime error, 2 usage, 3 the drain deadline cut connections;
    128 + signal after a second signal.
    """
    try:
        found = _load(processor)
        options = ServeOptions(
            host=host,
            port=port,
            uds=uds,
            uds_mode=uds_mode,
            fd=fd,
            ssl=_tls(ssl_certfile, ssl_keyfile),
            threads=threads,
            loop_name=loop_name,
            loop_factory=_loop_factory(loop_name),
            processor_name=processor,
            factory=as_factory(found),
            framing=framing,
            limits=DEFAULTS.replace(**{k: v for k, v in limits.items() if v is not None}),
            stop_word=None if stop_word is None else os.fsencode(stop_word),
            tee=tee,
            cpu=choose_cpu(cpu, found, threads),
            log_level=log_level,
        )
    except (SettingsError, LocalError) as error:
        _fail(EXIT_USAGE, error)
    try:
        sys.exit(serve_until_signal(options))
    except SettingsError as error:
        _fail(EXIT_USAGE, error)
    except (OSError, LocalError) as error:
        _fail(EXIT_RUNTIME_ERROR, error)


def _fail(code: int, error: object) -> NoReturn:
    if isinstance(error, OSError) and error.strerror and error.filename is None:
        error = error.strerror  # without "[Errno ...]", which says the same
    line = " ".join(str(error).split())
    click.echo(f"asyncrev: error: {line}", err=True)
    sys.exit(code)


def _tls(certfile: str | None, keyfile: str | None) -> ssl_module.SSLContext | None:
    if certfile is None:
        if keyfile is not None:
            raise SettingsError("--ssl-keyfile without --ssl-certfile; name the certificate, too")
        return None
    for option, path in (("--ssl-certfile", certfile), ("--ssl-keyfile", keyfile)):
        if path is not None:  # OpenSSL does not say which of them it means
            try:
                with open(path, "rb"):
                    pass
            except OSError as error:
                raise SettingsError(f"{option} {path!r}: {error.strerror}") from None
    context = ssl_module.create_default_context(ssl_module.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certfile, keyfile, password=_no_password)
    except OSError as error:  # ssl.SSLError is one
        key = "" if keyfile is None else f" --ssl-keyfile {keyfile!r}"
        raise SettingsError(
            f"--ssl-certfile {certfile!r}{key}: no certificate and key can be read from there: "
            f"{error.strerror or error}"
        ) from None
    return context


def _no_password() -> NoReturn:
    """Stand in for OpenSSL's question on the terminal, which nobody may see."""
    raise SettingsError("the private key is encrypted; give one that is not (openssl pkey -in ...)")


def _loop_factory(name: str) -> Any:
    if name == "asyncio":
        return asyncio.SelectorEventLoop
    if name == "uvloop":
        try:
            return importlib.import_module("uvloop").new_event_loop
        except ImportError:
            raise SettingsError(
                "--loop uvloop: uvloop is not installed; pip install 'asyncrev[uvloop]', "
                "or use --loop epoll"
            ) from None
    from asyncrev.loop import EpollEventLoop

    return EpollEventLoop


def _load(name: str) -> object:
    """Import what `module:attr` names; the current directory counts, as with `python -m`."""
    module_name, colon, attributes = name.partition(":")
    if not (module_name and colon and attributes):
        raise SettingsError(f"--processor {name!r}: write it as module:attr")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: object = importlib.import_module(module_name)
        for attribute in attributes.split("."):
            found = getattr(found, attribute)
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"--processor {name!r}: {error}") from None
    except (Exception, SystemExit) as error:
        raise SettingsError(f"--processor {name!r}: importing it raised {error!r}") from error
    return found
