"""The command `asyncrev send`."""

import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from asyncrev.command.exit_codes import EXIT_CLEAN, EXIT_RUNTIME_ERROR, EXIT_USAGE
from asyncrev.command.option_types import SECONDS, IntegerRange
from asyncrev.command.signals import ProcessSignals
from asyncrev.errors import LocalError, RemoteError, SettingsError
from asyncrev.frames.registry import FRAMINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncrev.command.send_expect import Expectation
    from asyncrev.command.send_frames import Input

__all__ = ["EXIT_DIFFERS", "EXIT_INTERRUPTED", "EXIT_TIMEOUT", "send"]

EXIT_TIMEOUT = 3
EXIT_DIFFERS = 4
EXIT_INTERRUPTED = 130

_READ_BYTES = 64 * 1024


@click.command()
@click.argument("arguments", nargs=-1, metavar="[HOST:PORT|unix:PATH] [DATA|-]")
@click.option(
    "--framing",
    type=click.Choice(["raw", *FRAMINGS]),
    default="raw",
    show_default=True,
    help="What the server reads: bytes, lines, or frames behind a big-endian length of 4 or 8 "
    "bytes. With len32 and len64, DATA is one frame, or else each line of stdin; each reply is a "
    "line of stdout.",
)
@click.option("--tls", is_flag=True, help="Connect with TLS, and verify the certificate.")
@click.option("--insecure", is_flag=True, help="Accept any certificate.")
@click.option(
    "--ca-certs",
    metavar="FILE",
    help="Trust the authorities in this file (PEM), beside the system's.",
)
@click.option(
    "--server-hostname",
    metavar="NAME",
    help="Host to ask for, which the certificate must have.  [default: HOST]",
)
@click.option(
    "--timeout-s",
    metavar="SECONDS",
    type=SECONDS,
    default="10",
    show_default=True,
    help="Time in which the server must connect, and then take input or reply.",
)
@click.option(
    "--repeat",
    metavar="N",
    type=IntegerRange(1),
    default=1,
    show_default=True,
    help="Send DATA so many times, one after another.",
)
@click.option(
    "--expect",
    metavar="reverse|echo|TEXT|@FILE",
    help="Verify the reply: each chunk or frame in reverse, the same as was sent, or what is given "
    "here or in a file, in the form of DATA and of stdin.",
)
@click.pass_context
def send(
    context: click.Context,
    /,
    arguments: tuple[str, ...],
    framing: str,
    tls: bool,
    insecure: bool,
    ca_certs: str | None,
    server_hostname: str | None,
    timeout_s: float,
    repeat: int,
    expect: str | None,
) -> None:
    """Send DATA, or stdin, to a server, and write its reply to stdout.

    \b
    Examples:
      asyncrev send 127.0.0.1:9090 hello
      asyncrev send --framing line --expect reverse hello
      asyncrev send unix:/run/rev.sock - < input > output

    Without an address it connects to 127.0.0.1:9090. Input is sent and replies are received at the
    same time, in bounded memory. At the end of the input the connection is half-closed; the command
    ends when the server has closed its side. Over TLS, it waits for as many bytes or frames of
    reply as it sent before it ends its side, because most servers do not reply after that.

    Exit codes: 0 the server replied and closed, 1 no connection, or it ended early, 2 usage, 3
    timeout, 4 the reply is not what --expect says, 130 by Ctrl-C.
    """
    signals: ProcessSignals | None = context.obj
    if signals is not None:
        signals.give_back()  # nothing is served that would have to be drained
    try:
        _run(
            arguments,
            framing,
            {"insecure": insecure, "ca_certs": ca_certs, "server_hostname": server_hostname},
            expect,
            use_tls=tls,
            timeout_s=timeout_s,
            repeat=repeat,
        )
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except SettingsError as error:
        _fail(EXIT_USAGE, error)
    except (LocalError, RemoteError) as error:
        from asyncrev.command.send_connection import NoAnswer
        from asyncrev.command.send_expect import ReplyDiffers

        codes: dict[type, int] = {NoAnswer: EXIT_TIMEOUT, ReplyDiffers: EXIT_DIFFERS}
        _fail(codes.get(type(error), EXIT_RUNTIME_ERROR), error)
    sys.exit(EXIT_CLEAN)


def _run(
    arguments: tuple[str, ...],
    framing: str,
    of_tls: "dict[str, bool | str | None]",
    expect: str | None,
    *,
    use_tls: bool,
    timeout_s: float,
    repeat: int,
) -> None:
    from asyncrev.command.send import Exchange
    from asyncrev.command.send_address import address_and_data
    from asyncrev.command.send_connect import connect
    from asyncrev.command.send_frames import Input, Output, batches
    from asyncrev.command.send_progress import Progress, total_bytes
    from asyncrev.command.send_tls import tls_context

    address, data = address_and_data(arguments)
    wire_input = Input(framing)
    pieces, total = None, None
    if data is not None:
        wire = wire_input.payload(os.fsencode(data))
        wire_input.units *= repeat
        pieces, total = iter(batches(wire, repeat)), len(wire) * repeat
    elif repeat != 1:
        raise SettingsError(f"--repeat {repeat} needs DATA as an argument; stdin is read once")
    else:
        total = total_bytes(0)
    for name, value in of_tls.items():
        if value and not use_tls:
            raise SettingsError(f"--{name.replace('_', '-')} needs --tls")
    expectation = _expectation(expect, framing, repeat)
    hostname = of_tls["server_hostname"] or None
    insecure, ca_certs = bool(of_tls["insecure"]), of_tls["ca_certs"] or None
    if use_tls and address.path is not None and not (hostname or insecure):
        raise SettingsError(
            f"{address} names no host; give --server-hostname, or --insecure for any certificate"
        )
    connection = connect(
        address,
        timeout_s,
        tls=tls_context(insecure=insecure, ca_certs=_text(ca_certs)) if use_tls else None,
        server_hostname=_text(hostname),
    )
    progress = Progress(total)
    try:
        Exchange(
            connection, wire_input, Output(framing), pieces, expectation, timeout_s, progress
        ).run()
    finally:
        progress.clear()
        connection.close()


def _text(value: "bool | str | None") -> str | None:
    return value if isinstance(value, str) else None


def _expectation(expect: str | None, framing: str, repeat: int) -> "Expectation | None":
    from asyncrev.command import send_expect
    from asyncrev.command.send_frames import Input, batches
    from asyncrev.frames.registry import as_framing

    if expect is None:
        return None
    if expect == "echo":
        return send_expect.Echo()
    if expect == "reverse":
        grammar = as_framing(framing)
        if grammar is None:
            return send_expect.ReversedChunks()
        return send_expect.ReversedFrames(grammar)
    of_expected = Input(framing)
    if not expect.startswith("@"):
        return send_expect.Given(iter(batches(of_expected.payload(os.fsencode(expect)), repeat)))
    return send_expect.Given(_pieces_of(expect.removeprefix("@"), of_expected))


def _pieces_of(path: str, wire_input: "Input") -> "Iterator[bytes]":
    try:
        file = open(path, "rb", buffering=0)  # noqa: SIM115 (read for as long as replies come)
        file.read(0)
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or error
        raise SettingsError(f"--expect @{path}: {what}") from None

    def pieces() -> "Iterator[bytes]":
        with file:
            try:
                while data := file.read(_READ_BYTES):
                    yield wire_input.feed(data)
            except OSError as error:
                raise SettingsError(f"--expect @{path}: {error.strerror}") from None
        yield wire_input.end()

    return pieces()


def _fail(code: int, error: object) -> NoReturn:
    from asyncrev.log_text import one_line

    try:
        click.echo(f"asyncrev: error: {one_line(str(error))}", err=True)
    except OSError:
        pass  # nobody reads; the exit code says it, too
    sys.exit(code)
