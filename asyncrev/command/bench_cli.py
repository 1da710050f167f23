"""The command `asyncrev bench`."""

import sys
from typing import Any

import click

from asyncrev.command.exit_codes import EXIT_RUNTIME_ERROR, EXIT_USAGE
from asyncrev.command.option_types import BYTES, SECONDS, IntegerRange
from asyncrev.command.signals import EXIT_SIGNAL_BASE, ProcessSignals
from asyncrev.errors import LocalError, SettingsError

__all__ = ["bench"]

_SIGINT = 2


@click.command()
@click.argument("target", default="127.0.0.1:9090", metavar="[HOST:PORT|unix:PATH]")
@click.option(
    "-c",
    "--connections",
    type=IntegerRange(1),
    default=50,
    show_default=True,
    help="Connections, of all processes together.",
)
@click.option(
    "-z",
    "--duration",
    "duration_s",
    metavar="SECONDS",
    type=SECONDS,
    help="How long to measure.  [default: 10s, or as long as -n takes]",
)
@click.option("-n", "--count", type=IntegerRange(1), help="How many messages to measure at most.")
@click.option(
    "--rate",
    "rate_per_s",
    type=float,
    help="Messages per second of all connections: an open loop. Without it, each connection sends "
    "when a reply has come: a closed loop.",
)
@click.option(
    "--size",
    "size_bytes",
    metavar="BYTES",
    type=BYTES,
    default="64",
    show_default=True,
    help="Payload of a message, without prefix or line end.",
)
@click.option(
    "-P",
    "--depth",
    type=IntegerRange(1),
    default=1,
    show_default=True,
    help="Messages in flight per connection, at most.",
)
@click.option(
    "--framing",
    metavar="raw|line|len32|len64",
    default="raw",
    show_default=True,
    help="How messages are framed.",
)
@click.option("--tls", is_flag=True, help="Speak TLS.")
@click.option("--insecure", is_flag=True, help="Leave the server's certificate unchecked.")
@click.option("--ca-certs", metavar="FILE", help="Certificates to trust, instead of the system's.")
@click.option(
    "--server-hostname", metavar="NAME", help="Whose certificate is expected, instead of HOST's."
)
@click.option(
    "--warmup",
    "warmup_s",
    metavar="SECONDS",
    type=SECONDS,
    default="1s",
    show_default=True,
    help="Send for so long before anything is counted.",
)
@click.option(
    "--timeout",
    "timeout_s",
    metavar="SECONDS",
    type=SECONDS,
    default="5s",
    show_default=True,
    help="Limit for connecting, and for the last replies.",
)
@click.option(
    "--expect",
    metavar="reverse|echo|MODULE:FUNCTION",
    default="reverse",
    show_default=True,
    help="What the reply must be; a function gets the payload and returns the reply's.",
)
@click.option(
    "--processes",
    type=IntegerRange(1),
    default=1,
    show_default=True,
    help="How many processes send.",
)
@click.option(
    "--threshold",
    "thresholds",
    metavar="LIMIT",
    multiple=True,
    help="A limit to keep, as 'p99<5ms' or 'rate>=20000': one of p50, p90, p95, p99, p99.9, max, "
    "mean, rate and errors. Can be repeated.",
)
@click.option("--json", metavar="FILE|-", help="Write all figures as JSON.")
@click.option("--save", metavar="NAME|FILE", help="Save all figures for --compare.")
@click.option("--compare", metavar="NAME|FILE", help="Compare with a saved run.")
@click.option("--report", metavar="FILE", help="Write plots: F.html or F.png.")
@click.pass_context
def bench(context: click.Context, /, target: str, **values: Any) -> None:
    """Load a server that answers what it receives, verify every reply, and report.

    \b
    Examples:
      asyncrev bench 127.0.0.1:9090 -c 50 -z 10s
      asyncrev bench unix:/run/rev.sock --rate 20000 --threshold 'p99<5ms'
      asyncrev bench [::1]:7 --expect echo --framing line --report out.html

    Without --rate, each connection sends its next message when a reply has come, so a slow server
    is asked less. With --rate, messages are due at fixed times, and latency counts from them.

    Needs asyncrev[bench].

    Exit codes: 0 clean, 1 a connection failed or a reply was missing, 2 usage, 4 a reply was wrong,
    5 the client was the bottleneck, 99 a threshold was broken; 128 + signal, after it has printed
    what was measured.
    """
    from asyncrev.bench.plan import Plan, parse_target
    from asyncrev.command.bench import bench as run
    from asyncrev.command.bench_output import Output

    signals: ProcessSignals | None = context.obj
    if signals is not None:
        signals.give_back()  # nothing is served that would have to be drained
    output = Output(
        **{name: values.pop(name) for name in ("thresholds", "json", "save", "compare", "report")}
    )
    if values["duration_s"] is None and values["count"] is None:
        values["duration_s"] = 10.0
    try:
        host, port, path = parse_target(target)
        code = run(Plan(host=host, port=port, path=path, **values), output)
    except (SettingsError, LocalError) as error:
        from asyncrev.log_text import one_line

        click.echo(f"asyncrev: error: {one_line(str(error))}", err=True)
        code = EXIT_USAGE if isinstance(error, SettingsError) else EXIT_RUNTIME_ERROR
    except KeyboardInterrupt:
        click.echo("asyncrev: error: interrupted before anything was measured", err=True)
        code = EXIT_SIGNAL_BASE + _SIGINT
    sys.exit(code)
