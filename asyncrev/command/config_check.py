"""What is wrong with the options of a server: as many mistakes as can be found at once."""

import dataclasses
from collections.abc import Iterable, Sequence

from asyncrev.command.config_values import blamed, name_places
from asyncrev.command.option_values import OptionValue, Source, contradictions, default_of
from asyncrev.command.server_setup import tapped
from asyncrev.command.settings import ServeSettings, settings_of
from asyncrev.command.supervisor_settings import refuse_for_workers
from asyncrev.command.worker_count import worker_count
from asyncrev.errors import LocalError, SettingsError

__all__ = ["Verdict", "check", "summary"]


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a check.

    Attributes:
        mistakes: why the options cannot be served; a message each.
        warnings: what can be served and still seems wrong.
    """

    mistakes: list[str]
    warnings: list[str]


def check(values: Sequence[OptionValue]) -> Verdict:
    """Make the settings as `serve` does: imports the processor, loads certificates. Thread: main.

    After a mistake, the options that its message names are set to their defaults, and the settings
    are made again. A mistake that names such an option may follow from the first and is left out.
    """
    found = contradictions(values)
    mistakes = [message for message, _ in found]
    reset = {value.option.name for _, involved in found for value in involved}
    current = _without(values, reset)
    while True:
        try:
            settings = settings_of(current)
            tapped(settings, None, _nothing)
            _check_workers(settings)
        except (SettingsError, LocalError) as error:
            message = str(error)
        else:
            return Verdict(mistakes, _warnings(settings) if not mistakes else [])
        involved = {value.option.name for value in blamed(message, values)}
        if not involved & reset:
            mistakes.append(name_places(message, values))
        culprits = _given(current, involved)
        if not culprits:  # it follows from another one of its table
            tables = {value.option.table for value in values if value.option.name in involved}
            culprits = {v.option.name for v in current if v.is_given and v.option.table in tables}
        if not culprits:
            return Verdict(mistakes, [])
        reset |= culprits
        current = _without(current, culprits)


def _check_workers(settings: ServeSettings) -> None:
    if worker_count(settings.workers) > 1:  # a single process heeds none of these
        refuse_for_workers(
            balance=settings.balance,
            uds=settings.uds,
            inherited=settings.inherited,
            hung_after_s=settings.hung_after_s,
        )


def _without(values: Sequence[OptionValue], names: Iterable[str]) -> list[OptionValue]:
    """Return `values` with defaults for those of `names`, and for what needs one of them."""
    gone = {*names}
    while True:
        more = {v.option.name for v in values if v.option.needs in gone and v.is_given} - gone
        if not more:
            return [default_of(v.option) if v.option.name in gone else v for v in values]
        gone |= more


def _given(values: Sequence[OptionValue], names: Iterable[str]) -> set[str]:
    return {v.option.name for v in values if v.is_given} & {*names}


def _warnings(settings: ServeSettings) -> list[str]:
    return [] if settings.tls is None else [*settings.tls.warnings]


def _nothing() -> None:
    """Stand in for the stop that a stop word asks for."""


def summary(values: Sequence[OptionValue]) -> str:
    """Return one line that says how many options each source gives."""
    counts = {source: sum(value.source is source for value in values) for source in Source}
    path = next(value.value for value in values if value.option.name == "config")
    names = {
        Source.FILE: f"{path}",
        Source.ENVIRONMENT: "the environment",
        Source.COMMAND_LINE: "the command line",
    }
    said = [f"{counts[source]} from {name}" for source, name in names.items() if counts[source]]
    return f"ok: {', '.join(said)}; the rest are defaults" if said else "ok: all are defaults"
