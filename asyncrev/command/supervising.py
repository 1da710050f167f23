"""Run a supervisor of several workers until a signal: start, reload, drain, exit code."""

import asyncio
import logging
import os
import sys
from collections.abc import Sequence

from asyncrev.command.admin_setup import ADMIN_DESCRIPTORS
from asyncrev.command.drain_delay import wait_before_drain
from asyncrev.command.exit_codes import (
    EXIT_CLEAN,
    EXIT_DRAIN_ABORTED,
    EXIT_RUNTIME_ERROR,
)
from asyncrev.command.listen_fds import take_sockets
from asyncrev.command.machine_memory import memory_limit
from asyncrev.command.notify import Notifier, take_notify_target
from asyncrev.command.option_values import OptionValue, warnings_of_variables
from asyncrev.command.process_run import run_with_log
from asyncrev.command.signals import ProcessSignals
from asyncrev.command.stopping import Stops, start_unless_stopped
from asyncrev.command.supervisor_admin import SupervisorAdmin
from asyncrev.command.supervisor_doors import open_doors
from asyncrev.command.supervisor_line import supervisor_fields, supervisor_line
from asyncrev.command.supervisor_plan import plan_of, settings_again
from asyncrev.command.supervisor_settings import SupervisorSettings, supervisor_settings_of
from asyncrev.command.supervisor_sources import SupervisorView, WorkerSources
from asyncrev.command.system_checks import backlog_warning
from asyncrev.errors import LocalError, SettingsError
from asyncrev.supervisor.ledger import MOST_UNTAKEN
from asyncrev.supervisor.process import DESCRIPTORS_VARIABLE, Command
from asyncrev.supervisor.supervisor import Doors, Supervisor

__all__ = ["prepare", "supervise_until_signal", "worker_command"]

logger = logging.getLogger("asyncrev")

DESCRIPTORS_OF_A_WORKER = 4 + MOST_UNTAKEN


def prepare(values: Sequence[OptionValue]) -> tuple[SupervisorSettings, list[str]]:
    """Return the settings that option values ask for, and what to log first. Thread: main.

    Raises:
        SettingsError: a value cannot be used, or not beside another one; names the option.
        LocalError: a descriptor of LISTEN_FDS is not open.
    """
    if DESCRIPTORS_VARIABLE in os.environ:  # `entry.main` takes it away in a worker
        raise SettingsError(
            "--workers needs a command that workers can run again, such as asyncrev serve, or "
            f"asyncrev.command.entry.main; this is a worker ({DESCRIPTORS_VARIABLE} is set)"
        )
    # Before a worker is started, which would inherit the variables.
    passed, notify = take_sockets(os.environ, values), take_notify_target(os.environ)
    settings = supervisor_settings_of(values, passed, notify)
    warnings = warnings_of_variables(os.environ)
    warnings += [*passed.warnings, *notify.warnings]
    if not passed.is_given:
        warnings += filter(None, [backlog_warning(settings.limits.backlog)])
    if settings.tls is not None:
        warnings += settings.tls.warnings
    return settings, warnings


def supervise_until_signal(
    settings: SupervisorSettings, signals: ProcessSignals, warnings: Sequence[str] = ()
) -> int:
    """Have workers serve until a signal, a stop word, or too many deaths; return the exit code.

    Thread: main. `warnings`: what to log before anything else.

    Raises:
        OSError: the address cannot be bound, or a process cannot be started.
        LocalError: the UNIX path belongs to another process, a setting cannot be used, or a thread
            cannot be started.
        WorkerFailed: a first worker ended before it was ready; has its exit code.
    """
    beside = 0 if settings.admin is None else ADMIN_DESCRIPTORS
    return run_with_log(
        lambda ours, _: _serve(settings, ours),
        signals,
        warnings,
        log_level=settings.log_level,
        log_format=settings.log_format,
        descriptors=settings.workers * DESCRIPTORS_OF_A_WORKER + beside,
    )


async def _serve(settings: SupervisorSettings, signals: ProcessSignals) -> int:
    return await _Service(settings, signals).run()


class _Service:
    """One service from its start to its exit code. Thread: loop."""

    def __init__(self, settings: SupervisorSettings, signals: ProcessSignals) -> None:
        self._settings = settings
        self._signals = signals
        self._stops = Stops()
        self._generation = 1
        self._reload_asked = asyncio.Event()
        self._is_reloading = False
        self._supervisor: Supervisor
        self._notifier: Notifier
        self._sources = WorkerSources(settings.workers)
        loop = asyncio.get_running_loop()
        self._admin = SupervisorAdmin(
            settings.admin,
            settings.config,
            lambda: self._sources.present,
            lambda: self._sources.facts,
            self._stops.request_soon,
            lambda: loop.call_soon_threadsafe(self._ask_reload),
        )

    async def run(self) -> int:
        """Serve; return the exit code."""
        code = EXIT_RUNTIME_ERROR
        self._signals.deliver_to(asyncio.get_running_loop(), self._on_signal)
        try:
            doors = await open_doors(
                self._settings, lambda sock, address: self._supervisor.accept(sock, address)
            )
            self._supervisor = supervisor = self._make_supervisor(doors)
            self._notifier = Notifier(self._settings.notify, SupervisorView(supervisor))
            try:
                await self._admin.open()
                if not await start_unless_stopped(supervisor.start(), self._stops):
                    code = EXIT_CLEAN
                    return code
                code = await self._serve()
            finally:
                self._notifier.close()
                await self._admin.close()
                await supervisor.close()
            return code
        finally:
            self._signals.end(code)

    def _on_signal(self, number: int, again: bool) -> None:
        self._stops.heed(number, again, self._ask_reload)

    def _note_change(self) -> None:
        if self._settings.admin is not None:
            self._sources.update(self._supervisor)

    # -- start -------------------------------------------------------------------------------

    def _make_supervisor(self, doors: Doors) -> Supervisor:
        settings = self._settings
        return Supervisor(
            worker_command(),
            plan_of(settings, self._generation),
            doors,
            restart_limit=settings.restart_limit,
            hung_after_s=settings.hung_after_s,
            stop=self._stops.requested.set,
            changed=self._note_change,
        )

    # -- serving -----------------------------------------------------------------------------

    async def _serve(self) -> int:
        supervisor = self._supervisor
        workers = supervisor.workers
        said = (self._settings, supervisor.addresses, workers[0].fields)
        fields = {"fields": supervisor_fields(*said, [worker.pid for worker in workers])}
        logger.info("%s", supervisor_line(*said), extra=fields)
        self._admin.start()
        self._notifier.ready()
        self._warn_of_memory(fields["fields"]["memory_bound_bytes"])
        reloading = asyncio.create_task(self._reload_when_asked())
        await self._stops.requested.wait()
        self._admin.note_stop()
        self._notifier.stopping(self._settings.drain_delay_s + self._settings.drain_s)
        delay_s, stops = self._settings.drain_delay_s, self._stops
        await wait_before_drain(delay_s, stops.numbers, stops.forced, reloading)
        reloading.cancel()
        return await self._drain()

    def _warn_of_memory(self, bound_bytes: int) -> None:
        limit = memory_limit()
        if limit is not None and bound_bytes > limit.nbytes:
            logger.warning(
                "connections may make %d workers hold %.0f MiB together, but %s %.0f MiB; they may "
                "be killed before their limits hold. Lower --workers, or the limits of each",
                self._settings.workers,
                bound_bytes / 2**20,
                limit.whose,
                limit.nbytes / 2**20,
            )

    async def _drain(self) -> int:
        supervisor = self._supervisor
        logger.info("draining %d connections", supervisor.open_connections)
        draining = asyncio.create_task(supervisor.drain())
        forcing = asyncio.create_task(self._stops.forced.wait())
        await asyncio.wait((draining, forcing), return_when=asyncio.FIRST_COMPLETED)
        forcing.cancel()
        if not draining.done():
            logger.warning("%s: closing now", self._stops.why_forced)
            await supervisor.close()
            draining.cancel()
            await asyncio.wait((draining,))
            return self._stops.forced_code
        clean = draining.result()
        logger.info("stopped")
        if supervisor.gave_up:
            return EXIT_RUNTIME_ERROR
        return EXIT_CLEAN if clean else EXIT_DRAIN_ABORTED

    # -- reload ------------------------------------------------------------------------------

    def _ask_reload(self) -> None:
        self._reload_asked.set()
        if self._is_reloading:
            self._supervisor.hurry_reload()

    async def _reload_when_asked(self) -> None:
        """Reload for each SIGHUP; those that come during a reload are one more, afterwards."""
        while True:
            await self._reload_asked.wait()
            self._reload_asked.clear()
            if self._settings.has_outputs:
                self._supervisor.reopen()
            with self._notifier.reloading():
                self._is_reloading = True
                try:
                    await self._reload()
                except Exception:  # a defect, which must not be the last reload
                    logger.exception("reload")
                finally:
                    self._is_reloading = False

    async def _reload(self) -> None:
        loop = asyncio.get_running_loop()
        before = self._settings
        try:
            # Not on the loop, because files may be on a slow disk.
            settings, refused = await loop.run_in_executor(None, settings_again, before)
        except (SettingsError, LocalError, OSError) as error:
            logger.error("reload: nothing has changed: %s", error)
            return
        for text in refused:
            logger.warning("reload: %s", text)
        self._generation += 1
        logger.info("reload: replacing %d workers, one after the other", settings.workers)
        if await self._supervisor.reload(plan_of(settings, self._generation)):
            self._settings = settings
            self._admin.config = settings.config
            self._note_change()
            logger.info("reload: all workers are replaced")


def worker_command() -> Command:
    """Return how a worker is started: as this process was, and told later what it serves with."""
    return Command([sys.executable, *sys.orig_argv[1:]], dict(os.environ))
