"""Run one server until a signal: start, drain, exit code."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from asyncrev.command.admin_setup import ADMIN_DESCRIPTORS, Admin
from asyncrev.command.core_follower import following
from asyncrev.command.drain_delay import wait_before_drain
from asyncrev.command.exit_codes import EXIT_CLEAN, EXIT_RUNTIME_ERROR
from asyncrev.command.log_setup import ProcessLog
from asyncrev.command.notify import Notifier
from asyncrev.command.output_files import OutputFiles
from asyncrev.command.process_run import LAST_LINES_S, run_process
from asyncrev.command.server_setup import listen, memory_warning_of, server_with
from asyncrev.command.settings import ServeSettings
from asyncrev.command.signals import ProcessSignals
from asyncrev.command.start_line import start_fields, start_line
from asyncrev.command.stopping import Stops, run_until_stopped, start_unless_stopped

__all__ = ["serve_until_signal"]

logger = logging.getLogger("asyncrev")


def serve_until_signal(
    settings: ServeSettings,
    signals: ProcessSignals | None = None,
    warnings: Sequence[str] = (),
) -> int:
    """Serve until a signal or the stop word; return the exit code. Thread: main.

    `signals`: the owner of the process's signals. Without one, the handlers are restored at the
    end. `warnings`: what to log before anything else.

    Raises:
        OSError: the address cannot be bound, or the tee's file cannot be opened.
        LocalError: the UNIX path belongs to another process, a setting cannot be used, or a thread
            cannot be started.
    """
    beside = 0 if settings.admin is None else ADMIN_DESCRIPTORS
    return run_process(_serve, settings, signals, warnings, more_descriptors=beside)


async def _serve(settings: ServeSettings, signals: ProcessSignals, log: ProcessLog) -> int:
    stops = Stops()

    def on_signal(number: int, again: bool) -> None:
        stops.heed(number, again, lambda: outputs.reopen_soon("SIGHUP", reloading))

    code = EXIT_RUNTIME_ERROR
    # Before anything slow.
    signals.deliver_to(asyncio.get_running_loop(), on_signal)
    outputs = OutputFiles()
    reloading: Callable[[], AbstractContextManager[None]] = nullcontext
    try:
        outputs.open(settings)
        server = server_with(settings, outputs, stops.request_soon)
        notifier = Notifier(settings.notify, server)
        reloading = notifier.reloading
        admin = Admin(settings, server, stops.request_soon)

        async def before_drain(serving: "asyncio.Task[None]") -> None:
            admin.note_stop()
            notifier.stopping(settings.drain_delay_s + settings.limits.drain_timeout_s)
            await wait_before_drain(settings.drain_delay_s, stops.numbers, stops.forced, serving)

        try:
            await admin.open()
            if await start_unless_stopped(listen(server, settings), stops):
                warning = memory_warning_of(settings, server)  # slow, so before the start line
                fields = {"fields": start_fields(settings, server)}
                logger.info("%s", start_line(settings, server), extra=fields)
                admin.start()
                notifier.ready()
                if warning is not None:
                    logger.warning("%s", warning)
                with following(server, settings.cpu, settings.more_cpus):
                    code = await run_until_stopped(
                        server,
                        stops,
                        spread_s=settings.drain_spread_s,
                        report_left_out=log.report_left_out,
                        before_drain=before_drain,
                    )
            else:
                code = EXIT_CLEAN
                if signals.owns_process:
                    # asyncio and the interpreter would wait for the resolver's thread, which has no
                    # timeout.
                    threading.Thread(target=_end_late, args=(code,), daemon=True).start()
        finally:
            notifier.close()
            await admin.close()
            await server.close()  # `run_until_stopped` has nearly always done it
        return code
    finally:
        signals.end(code)
        outputs.close()


def _end_late(code: int) -> None:
    time.sleep(2 * LAST_LINES_S)
    os._exit(code)
