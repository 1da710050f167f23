"""What a server of the command is made of, and how option values become that."""

import asyncio
import dataclasses
import importlib
import os
import ssl as ssl_module
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from asyncrev.command.admin_address import AdminAddress, parse_admin_address
from asyncrev.command.admin_config import config_of
from asyncrev.command.affinity import choose_cpu
from asyncrev.command.drain_delay import checked_delay_s, checked_spread_s
from asyncrev.command.executor_options import ExecutorChoice, executor_of
from asyncrev.command.listen_fds import ListenSockets, take_sockets
from asyncrev.command.loading import load
from asyncrev.command.notify import NotifyTarget, take_notify_target
from asyncrev.command.option_values import OptionValue, refuse_contradictions
from asyncrev.command.output_file import refuse_shared_output
from asyncrev.command.proxy import make_proxy
from asyncrev.command.standard_streams import open_closed_streams
from asyncrev.command.tls import Tls, make_tls, tls_options
from asyncrev.errors import SettingsError
from asyncrev.frames.registry import FRAMINGS, check_longest
from asyncrev.later_processors import LaterFactory, coroutine_factory
from asyncrev.limits import Limits
from asyncrev.processors import ProcessorFactory, as_factory, declares
from asyncrev.server.unix_path import DEFAULT_MODE
from asyncrev.work.reverse import Reverse

if TYPE_CHECKING:
    from asyncrev.server.proxy_protocol import ProxyProtocol

__all__ = ["NO_UVLOOP", "ServeSettings", "limits_of", "settings_of"]

NO_UVLOOP = (
    "--loop uvloop: uvloop is not installed; pip install 'asyncrev[uvloop]', or use --loop epoll"
)

_NOTHING_INHERITED = ListenSockets()
_NOBODY = NotifyTarget()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """What one server is made of, and how its process runs.

    Attributes:
        host, port, uds, uds_mode, inherited: where it listens; `uds` and sockets that were
            inherited take the place of the first two. `uds_mode` is a number, not its octal text.
        notify: which service manager hears how it is.
        tls: its TLS, or None.
        proxy: from whom it reads PROXY headers, or None.
        loop_name, loop_factory: the event loop.
        processor_name, factory: the processors.
        framing: "raw", or a name of `FRAMINGS`.
        threads: workers.
        executor: what answers frames in the place of the processor, or None.
        limits: of each bridge, its connections and the server.
        cpu: the core that all threads run on, or None for any.
        more_cpus: all cores that they may use instead of `cpu` while that is faster; none if `cpu`
            is for good.
        stop_word: what a client sends to make the server drain, or None.
        tee: the file to which received bytes are written, "-" for stdout, or None.
        log_level: the lowest level that is logged.
        log_format: "text" or "json", of the log and of the access log.
        access_log: the file with a line per closed connection, "-" for stdout, or None.
        admin: where the admin endpoint listens, or None.
        config: what it shows of the options.
        drain_delay_s: how long connections are accepted after a stop.
        drain_spread_s: over how much of its time the drain tells connections to end.
        workers, balance, restart_limit, hung_after_s: for the supervisor of several processes.
    """

    host: str
    port: int
    uds: str | None
    loop_name: str
    loop_factory: Callable[[], asyncio.AbstractEventLoop]
    processor_name: str
    factory: ProcessorFactory
    framing: str
    limits: Limits
    stop_word: bytes | None
    tee: str | None
    cpu: int | None
    log_level: str
    uds_mode: int = DEFAULT_MODE
    inherited: ListenSockets = _NOTHING_INHERITED
    notify: NotifyTarget = _NOBODY
    tls: Tls | None = None
    proxy: "ProxyProtocol | None" = None
    threads: int = 1
    executor: ExecutorChoice | None = None
    more_cpus: frozenset[int] = frozenset()
    log_format: str = "text"
    access_log: str | None = None
    admin: AdminAddress | None = None
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False)
    drain_delay_s: float = 0.0
    drain_spread_s: float = 0.0
    workers: int | str = 1
    balance: str = "exact"
    restart_limit: int = 10
    hung_after_s: float = 30.0

    @property
    def fd(self) -> int | None:
        """The descriptor that it listens on and that is not systemd's, or None."""
        return self.inherited.fd

    @property
    def ssl(self) -> ssl_module.SSLContext | None:
        """The context of its TLS, or None."""
        return None if self.tls is None else self.tls.context


def settings_of(
    values: Sequence[OptionValue], inherited: ListenSockets | None = None
) -> ServeSettings:
    """Return the settings that option values ask for; imports the processor. Thread: main.

    `inherited`: what a supervisor has passed, which speaks to systemd itself; then the environment
    is not looked at.

    Raises:
        SettingsError: a value cannot be used, or not beside another one; names the option.
    """
    refuse_contradictions(values)
    notify = _NOBODY
    if inherited is None:
        # Before a module can start a child, which would inherit the variables.
        inherited, notify = take_sockets(os.environ, values), take_notify_target(os.environ)
    asked = {value.option.name: value.value for value in values}
    refuse_shared_output(asked["tee"], asked["access_log"])
    # The loop first: the processor's module may change the search path.
    loop_factory = _loop_factory(asked["loop"])
    found = load(asked["processor"])
    open_closed_streams()  # a module that makes its process a daemon may have closed them
    executor = executor_of(asked, found)
    if executor is None:
        factory = _factory(asked["processor"], found)
    else:
        factory = LaterFactory(found, replies_fit=declares(found, "replies_fit"))
    if found is Reverse:
        Reverse()  # may import NumPy: now rather than while the first client waits
    limits = limits_of(values)
    cpu = choose_cpu(asked["cpu"], found, asked["threads"])
    follows_load = asked["cpu"] == "auto" and cpu is not None and asked["ssl_certfile"]
    return ServeSettings(
        host=asked["host"],
        port=asked["port"],
        uds=asked["uds"],
        uds_mode=asked["uds_mode"],
        inherited=inherited,
        notify=notify,
        tls=make_tls(tls_options(asked)),
        proxy=make_proxy(asked["proxy_protocol"], asked["proxy_from"], asked["proxy_timeout_s"]),
        threads=asked["threads"],
        executor=executor,
        loop_name=asked["loop"],
        loop_factory=loop_factory,
        processor_name=asked["processor"],
        factory=factory,
        framing=asked["framing"],
        limits=limits,
        stop_word=None if asked["stop_word"] is None else os.fsencode(asked["stop_word"]),
        tee=asked["tee"],
        cpu=cpu,
        more_cpus=frozenset(os.sched_getaffinity(0) if follows_load else ()),
        log_level=asked["log_level"],
        log_format=asked["log_format"],
        access_log=asked["access_log"],
        admin=parse_admin_address(asked["admin"]),
        config=config_of(values),
        drain_delay_s=checked_delay_s(asked["drain_delay_s"]),
        drain_spread_s=checked_spread_s(asked["drain_spread_s"], limits),
        workers=asked["workers"],
        balance=asked["balance"],
        restart_limit=asked["restart_limit"],
        hung_after_s=asked["hung_after_s"],
    )


def limits_of(values: Sequence[OptionValue]) -> Limits:
    """Return the limits that option values ask for.

    Raises:
        SettingsError: they cannot be used; what follows from an option that was given names it.
    """
    framing = next(value.value for value in values if value.option.name == "framing")
    of_limits = {value.option.limit: value for value in values if value.option.limit}
    longest = of_limits["max_frame_bytes"]
    follow = ("pool_bytes", "pool_connection_bytes")
    blames_it = longest.is_given and not any(of_limits[name].is_given for name in follow)
    try:
        if framing in FRAMINGS:
            check_longest(FRAMINGS[framing], longest.value)
        asked = {name: value.value for name, value in of_limits.items() if value.value is not None}
        return Limits().replace(**asked)
    except SettingsError as error:
        if blames_it and str(error).startswith(follow):
            raise SettingsError(
                f"{longest.origin} is {longest.value}: {error}; give a shorter length, or "
                "--pool-bytes as well"
            ) from None
        raise


def _factory(name: str, found: object) -> ProcessorFactory:
    try:
        return coroutine_factory(found) or as_factory(found)
    except SettingsError as error:  # it names the object, which may be a lambda
        raise SettingsError(f"--processor {name!r}: {error}") from error


def _loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "asyncio":
        return asyncio.SelectorEventLoop
    if name == "uvloop":
        try:
            factory: Callable[[], asyncio.AbstractEventLoop]
            factory = importlib.import_module("uvloop").new_event_loop
        except ImportError:
            raise SettingsError(NO_UVLOOP) from None
        return factory
    from asyncrev.loop.eventloop import EpollEventLoop

    return EpollEventLoop
