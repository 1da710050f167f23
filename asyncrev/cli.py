"""The command line: `asyncrev serve`. It alone installs signal handlers and speaks to people."""

import asyncio
import contextlib
import importlib
import os
import platform
import ssl as ssl_module
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import click

from asyncrev.affinity import choose_cpu
from asyncrev.errors import LocalError, SettingsError
from asyncrev.frames.registry import FRAMINGS
from asyncrev.limits import MOST_C_INT, Limits
from asyncrev.loading import load
from asyncrev.log_text import printable
from asyncrev.option_types import FILE_MODE
from asyncrev.options import (
    BYTES_WORKED_ON,
    LISTEN,
    PROCESS,
    SectionedCommand,
    limit_options,
    option,
    refuse_contradictions,
)
from asyncrev.processors import ProcessorFactory, as_factory
from asyncrev.serving import EXIT_RUNTIME_ERROR, EXIT_USAGE, ServeOptions, serve_until_signal
from asyncrev.signals import ProcessSignals
from asyncrev.standard_streams import open_closed_streams
from asyncrev.version import __version__

__all__ = ["main"]

DEFAULTS = Limits()


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


@main.command(cls=SectionedCommand)
@option(
    "--host",
    default="127.0.0.1",
    section=LISTEN,
    help="Address or name; '' or * for all interfaces, IPv4 and IPv6.",
)
@option(
    "--port",
    default=9090,
    type=click.IntRange(0, 65535),
    section=LISTEN,
    help="Port; 0 takes a free one.",
)
@option("--uds", metavar="PATH", section=LISTEN, help="Listen on this UNIX socket instead.")
@option(
    "--uds-mode",
    default="0600",
    type=FILE_MODE,
    section=LISTEN,
    help="Mode of that socket, whatever the umask: 0660 lets the group connect, 0666 everybody.",
)
@option(
    "--fd",
    type=click.IntRange(0, MOST_C_INT),
    section=LISTEN,
    help="Listen on this descriptor instead, a listening socket that the process was given.",
)
@option(
    "--ssl-certfile",
    metavar="PATH",
    section=LISTEN,
    help="Serve TLS with this certificate chain (PEM).",
)
@option(
    "--ssl-keyfile",
    metavar="PATH",
    section=LISTEN,
    help="Its private key, if it is not in the same file.",
)
@option(
    "--loop",
    "loop_name",
    default="epoll",
    type=click.Choice(["epoll", "asyncio", "uvloop"]),
    section=PROCESS,
    help="Event loop.",
)
@option(
    "--processor",
    default="asyncrev:Reverse",
    metavar="MODULE:ATTR",
    section=BYTES_WORKED_ON,
    help="A class with process(chunk) and eof(), a factory of such, or a function bytes -> bytes. "
    "Its module is searched for in the current directory last, and not at all with PYTHONSAFEPATH.",
)
@option(
    "--framing",
    default="raw",
    type=click.Choice(["raw", *FRAMINGS]),
    section=BYTES_WORKED_ON,
    help="What is processed at a time: a chunk as the network cut it, a line, or the payload "
    "behind a big-endian length of 4 or 8 bytes; replies are framed in the same way.",
)
@limit_options
@option(
    "--threads",
    default=1,
    type=click.IntRange(1),
    section=BYTES_WORKED_ON,
    help="Worker threads, each with a ring of its own; connections are spread over them. For a "
    "processor that releases the GIL for most of its time.",
)
@option(
    "--cpu",
    default="auto",
    metavar="auto|any|N",
    section=PROCESS,
    help="Run loop and worker on one core, N: the hand-off is cheaper there. auto does so, on the "
    "core where it starts, for a processor with a true `shares_core`; any leaves it to the system.",
)
@option(
    "--log-level",
    default="info",
    type=click.Choice(["debug", "info", "warning", "error", "critical"]),
    section=PROCESS,
    help="What is logged on stderr.",
)
@option(
    "--stop-word",
    metavar="WORD",
    section=BYTES_WORKED_ON,
    help="A client that sends this, whole or in pieces (with framing: a frame equal to it), makes "
    "the server drain and stop.",
)
@option(
    "--tee",
    metavar="PATH|-",
    section=BYTES_WORKED_ON,
    help="Write the bytes received to this file, or to stdout.",
)
@click.pass_obj
def serve(
    signals: ProcessSignals | None,
    /,
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
    """Serve until SIGTERM, SIGINT or SIGQUIT, then drain; a second signal cuts at once.

    The same stop may be delivered twice: a signal within 0.5 s of the first is no second one.

    Exit codes: 0 clean, 1 runtime error, 2 usage, 3 the drain deadline cut connections;
    128 + signal after a second signal.
    """
    try:
        refuse_contradictions(click.get_current_context())
        loop_factory = _loop_factory(loop_name)  # first: a processor may change the search path
        found = load(processor)
        open_closed_streams()  # a module that makes its process a daemon may have closed them
        options = ServeOptions(
            host=host,
            port=port,
            uds=uds,
            uds_mode=uds_mode,
            fd=fd,
            ssl=_tls(ssl_certfile, ssl_keyfile),
            threads=threads,
            loop_name=loop_name,
            loop_factory=loop_factory,
            processor_name=processor,
            factory=_factory(processor, found),
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
        sys.exit(serve_until_signal(options, signals))
    except SettingsError as error:
        _fail(EXIT_USAGE, error)
    except (OSError, LocalError) as error:
        _fail(EXIT_RUNTIME_ERROR, error)


def _factory(name: str, found: object) -> ProcessorFactory:
    try:
        return as_factory(found)
    except SettingsError as error:  # it names the object, which may be a lambda
        raise SettingsError(f"--processor {name!r}: {error}") from error


def _fail(code: int, error: object) -> NoReturn:
    if isinstance(error, OSError) and error.strerror and error.filename is None:
        error = error.strerror  # without "[Errno ...]", which says the same
    line = printable(" ".join(str(error).split()))
    try:
        click.echo(f"asyncrev: error: {line}", err=True)
    except OSError:
        pass  # a full disk, or nobody who reads; the exit code says it, too
    sys.exit(code)


def _tls(certfile: str | None, keyfile: str | None) -> ssl_module.SSLContext | None:
    if certfile is None:
        return None
    for name, path in (("--ssl-certfile", certfile), ("--ssl-keyfile", keyfile)):
        if path is not None:  # OpenSSL does not say which of them it means
            try:
                with open(path, "rb"):
                    pass
            except OSError as error:
                raise SettingsError(f"{name} {path!r}: {error.strerror}") from None
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
