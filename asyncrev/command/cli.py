"""The command line `asyncrev`: its verbs, and one line for every mistake.

What serves is imported when it is asked for, so that help and version come quickly.
"""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import click

from asyncrev.command.click_options import OptionsCommand, parameters, values_of
from asyncrev.command.exit_codes import EXIT_RUNTIME_ERROR, EXIT_USAGE
from asyncrev.command.signals import ProcessSignals
from asyncrev.errors import LocalError, SettingsError
from asyncrev.native.choice import DESCRIPTION
from asyncrev.version import __version__

if TYPE_CHECKING:
    from asyncrev.command.option_values import OptionValue

__all__ = ["main"]


def _version_line() -> str:
    import platform

    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    return (
        f"asyncrev {__version__} (loop epoll, plane {DESCRIPTION}, "
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"GIL {'on' if gil else 'off'})"
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


_ELSEWHERE = {
    "bench": "asyncrev.command.bench_cli",
    "completion": "asyncrev.command.completion_cli",
    "config": "asyncrev.command.config_cli",
    "doctor": "asyncrev.command.doctor_cli",
    "send": "asyncrev.command.send_cli",
    "top": "asyncrev.command.top_cli",
}


class _Commands(click.Group):
    """The verbs. What verbs beside `serve` are made of is imported when they are asked for."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted([*super().list_commands(context), *_ELSEWHERE])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in _ELSEWHERE:
            command: click.Command = getattr(importlib.import_module(_ELSEWHERE[name]), name)
            return command
        return super().get_command(context, name)

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
    help="Show the version, with loop, plane, Python and GIL, and exit.",
)
def main() -> None:
    """Receive bytes, process them in order on a worker thread, send the results back."""


@main.command(cls=OptionsCommand, params=parameters())
@click.pass_context
def serve(context: click.Context, /, **_: Any) -> None:
    """Serve until SIGTERM, SIGINT or SIGQUIT, then drain.

    \b
    Examples:
      asyncrev serve --port 9090 --processor work:Upper --framing line
      ASYNCREV_PORT=9090 asyncrev serve --max-connections 100 --idle-timeout-s 5m

    Every option can also be given as an environment variable: --max-connections as
    ASYNCREV_MAX_CONNECTIONS; or in the TOML file that --config names, as max_connections. A flag
    takes precedence over a variable, and a variable over the file.

    A second signal closes all connections at once; one within 0.5 s of the first does not count
    as a second, because the same stop may be delivered twice.

    Exit codes: 0 clean, 1 runtime error, 2 usage, 3 the drain deadline aborted connections;
    128 + signal after a second signal.
    """
    from asyncrev.command.option_values import warnings_of_variables
    from asyncrev.command.serving import serve_until_signal
    from asyncrev.command.settings import settings_of
    from asyncrev.command.system_checks import backlog_warning

    signals: ProcessSignals | None = context.obj
    log_format = context.params["log_format"]
    values: list[OptionValue] = []
    try:
        values = values_of(context)
        log_format = next(value.value for value in values if value.option.name == "log_format")
        if next(value.value for value in values if value.option.name == "workers") != 1:
            _supervise(values, signals, log_format)  # returns if that is one
        settings = settings_of(values)
    except (SettingsError, LocalError) as error:
        _fail(EXIT_USAGE, _with_places(error, values), log_format)
    warnings = warnings_of_variables(os.environ)
    warnings += [*settings.inherited.warnings, *settings.notify.warnings]
    if not settings.inherited.is_given:
        warnings += filter(None, [backlog_warning(settings.limits.backlog)])
    if settings.tls is not None:
        warnings += settings.tls.warnings
    try:
        sys.exit(serve_until_signal(settings, signals, warnings))
    except SettingsError as error:
        _fail(EXIT_USAGE, _with_places(error, values), log_format)
    except (OSError, LocalError) as error:
        _fail(EXIT_RUNTIME_ERROR, error, log_format)


def _supervise(
    values: "list[OptionValue]", signals: ProcessSignals | None, log_format: str
) -> None:
    """Run several workers, and exit; return if the number of workers is 1.

    Raises:
        SettingsError, LocalError: the values cannot be used.
    """
    from asyncrev.command.worker_count import worker_count

    if worker_count(next(v.value for v in values if v.option.name == "workers")) == 1:
        return
    from asyncrev.command.supervising import prepare, supervise_until_signal
    from asyncrev.supervisor.causes import WorkerFailed

    settings, warnings = prepare(values)
    try:
        sys.exit(supervise_until_signal(settings, signals or ProcessSignals(), warnings))
    except WorkerFailed as error:
        _fail(EXIT_USAGE if error.code == EXIT_USAGE else EXIT_RUNTIME_ERROR, error, log_format)
    except SettingsError as error:
        _fail(EXIT_USAGE, _with_places(error, values), log_format)
    except (OSError, LocalError) as error:
        _fail(EXIT_RUNTIME_ERROR, error, log_format)


def _with_places(error: Exception, values: "list[OptionValue]") -> str:
    from asyncrev.command.config_values import name_places

    return name_places(str(error), values)


def _fail(code: int, error: object, log_format: str = "text") -> NoReturn:
    from asyncrev.log_text import one_line

    if isinstance(error, OSError) and error.strerror and error.filename is None:
        error = error.strerror  # without "[Errno ...]", which says the same
    line = f"asyncrev: error: {one_line(str(error))}"
    if log_format == "json":
        from asyncrev.command.log_json import error_line

        line = error_line(line.removeprefix("asyncrev: error: "))
    try:
        click.echo(line, err=True)
    except OSError:
        pass  # a full disk, or nobody who reads; the exit code says it, too
    sys.exit(code)
