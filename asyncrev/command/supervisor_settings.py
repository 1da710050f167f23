"""What a supervisor needs of the options, and a check of the others without the processor's module.

That module is imported by the workers alone: the supervisor must outlive whatever it does, and a
new version of it is tried by a worker that has no connections yet.
"""

import dataclasses
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from asyncrev.command.admin_address import AdminAddress, parse_admin_address
from asyncrev.command.admin_config import config_of
from asyncrev.command.affinity import choose_cpu
from asyncrev.command.config_values import name_places
from asyncrev.command.drain_delay import checked_delay_s, checked_spread_s
from asyncrev.command.listen_fds import ListenSockets
from asyncrev.command.notify import NotifyTarget
from asyncrev.command.option_values import OptionValue, refuse_contradictions
from asyncrev.command.output_file import refuse_shared_output
from asyncrev.command.proxy import make_proxy
from asyncrev.command.settings import NO_UVLOOP, limits_of
from asyncrev.command.tls import Tls, make_tls, tls_options
from asyncrev.command.worker_count import worker_count
from asyncrev.errors import SettingsError
from asyncrev.limits import Limits

__all__ = ["SupervisorSettings", "refuse_for_workers", "supervisor_settings_of"]

# What a worker may take to end, beside its drain: the last replies, threads, the interpreter.
ENDING_S = 5.0

LEAST_HUNG_AFTER_S = 5.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorSettings:
    """What one supervisor works with.

    Attributes:
        values: of all options; workers get them.
        host, port, uds, uds_mode, inherited: where it listens; see `ServeSettings`.
        notify: which service manager hears how it is.
        tls: the TLS of the workers, or None; for its certificates and warnings only.
        limits: of each worker.
        workers: how many.
        balance: "exact" or "kernel".
        restart_limit, hung_after_s: see `Supervisor`.
        drain_s: the time that the drain of a worker may take, until its process has ended.
        log_level, log_format: of its log.
        admin: where the admin endpoint listens, or None.
        config: what it shows of the options.
        drain_delay_s: how long connections are accepted after a stop.
    """

    values: Sequence[OptionValue]
    host: str
    port: int
    uds: str | None
    uds_mode: int
    inherited: ListenSockets
    notify: NotifyTarget
    tls: Tls | None
    limits: Limits
    workers: int
    balance: str
    restart_limit: int
    hung_after_s: float
    drain_s: float
    log_level: str
    log_format: str
    admin: AdminAddress | None
    config: Mapping[str, Any]
    drain_delay_s: float

    def value_of(self, name: str) -> Any:
        """Return the value of an option."""
        return next(value.value for value in self.values if value.option.name == name)

    @property
    def has_outputs(self) -> bool:
        """Whether workers write files that can be opened again."""
        return self.value_of("tee") is not None or self.value_of("access_log") is not None


def supervisor_settings_of(
    values: Sequence[OptionValue], inherited: ListenSockets, notify: NotifyTarget
) -> SupervisorSettings:
    """Return the settings that option values ask for, after a check of all that can be checked.

    Certificates are read; the processor's module is not imported. Thread: any.

    Raises:
        SettingsError: a value cannot be used, or not beside another one; names the option.
    """
    try:
        return _settings_of(values, inherited, notify)
    except SettingsError as error:
        raise SettingsError(name_places(str(error), values)) from error


def refuse_for_workers(
    *, balance: str, uds: str | None, inherited: ListenSockets, hung_after_s: float
) -> None:
    """Refuse what a single process could be started with, though a supervisor cannot.

    Raises:
        SettingsError: names the options.
    """
    if balance == "kernel" and (uds is not None or inherited.is_given):
        where = "--uds" if uds is not None else "--fd, or sockets of systemd"
        raise SettingsError(
            f"--balance kernel beside {where}: it needs a listening socket per worker, which only "
            "--host and --port can have; leave it out"
        )
    if not hung_after_s >= LEAST_HUNG_AFTER_S:
        raise SettingsError(
            f"--hung-after-s is {hung_after_s:g}; it must be {LEAST_HUNG_AFTER_S:g} s or "
            "more, because a worker says once per second that it moves"
        )


def _settings_of(
    values: Sequence[OptionValue], inherited: ListenSockets, notify: NotifyTarget
) -> SupervisorSettings:
    refuse_contradictions(values)
    asked = {value.option.name: value.value for value in values}
    refuse_shared_output(asked["tee"], asked["access_log"])
    if asked["loop"] == "uvloop" and importlib.util.find_spec("uvloop") is None:
        raise SettingsError(NO_UVLOOP)
    choose_cpu(asked["cpu"], None, asked["threads"])
    make_proxy(asked["proxy_protocol"], asked["proxy_from"], asked["proxy_timeout_s"])
    refuse_for_workers(
        balance=asked["balance"],
        uds=asked["uds"],
        inherited=inherited,
        hung_after_s=asked["hung_after_s"],
    )
    limits = limits_of(values)
    checked_spread_s(asked["drain_spread_s"], limits)
    return SupervisorSettings(
        values=values,
        host=asked["host"],
        port=asked["port"],
        uds=asked["uds"],
        uds_mode=asked["uds_mode"],
        inherited=inherited,
        notify=notify,
        tls=make_tls(tls_options(asked)),
        limits=limits,
        workers=worker_count(asked["workers"]),
        balance=asked["balance"],
        restart_limit=asked["restart_limit"],
        hung_after_s=asked["hung_after_s"],
        drain_s=limits.drain_timeout_s + ENDING_S,
        log_level=asked["log_level"],
        log_format=asked["log_format"],
        admin=parse_admin_address(asked["admin"]),
        config=config_of(values),
        drain_delay_s=checked_delay_s(asked["drain_delay_s"]),
    )
