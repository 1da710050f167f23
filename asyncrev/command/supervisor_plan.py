"""What workers are started with, from the options, and the options read again for a reload."""

from asyncrev.command.config_reload import values_again
from asyncrev.command.supervisor_settings import SupervisorSettings, supervisor_settings_of
from asyncrev.command.value_json import values_to_json
from asyncrev.supervisor.plan import Plan

__all__ = ["plan_of", "settings_again"]


def plan_of(settings: SupervisorSettings, generation: int) -> Plan:
    """Return what workers serve with; `generation` is the number of the reload, from 1."""
    setup = {"values": values_to_json(settings.values), "balance": settings.balance}
    return Plan(generation, setup, settings.limits.max_connections, settings.drain_s)


def settings_again(before: SupervisorSettings) -> tuple[SupervisorSettings, list[str]]:
    """Read the options again, and check all that can be checked without the processor's module.

    Return settings, and in words what differs and cannot change. Sockets that were passed, and whom
    to notify, stay as they are, because the variables of the environment are gone. Thread: any; it
    waits for disks.

    Raises:
        SettingsError: the file or a value cannot be used.
        OSError: a file cannot be read.
    """
    values, differences = values_again(before.values)
    settings = supervisor_settings_of(values, before.inherited, before.notify)
    refused = [
        f"{one.words} is not changed; restart the service for that"
        for one in differences
        if not one.may_change
    ]
    return settings, refused
