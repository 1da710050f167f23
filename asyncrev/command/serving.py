"""Run one server until a signal: start, drain, exit code."""

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from asyncrev.command.admin_setup import ADMIN_DESCRIPTORS, Admin
from asyncrev.command.affinity import pin_to
from asyncrev.command.core_follower import following
from asyncrev.command.descriptor_limit import raise_descriptor_limit
from asyncrev.command.drain_delay import wait_before_drain
from asyncrev.command.exit_codes import EXIT_CLEAN, EXIT_DRAIN_ABORTED, EXIT_RUNTIME_ERROR
from asyncrev.command.log_setup import ProcessLog
from asyncrev.command.machine_memory import memory_warning
from asyncrev.command.notify import Notifier
from asyncrev.command.output_file import OutputFile
from asyncrev.command.output_files import OutputFiles
from asyncrev.command.proxy_header import ProxyHeaderWarning
from asyncrev.command.settings import ServeSettings
from asyncrev.command.signals import EXIT_SIGNAL_BASE, STOPS, ProcessSignals, name_of
from asyncrev.command.start_line import start_fields, start_line
from asyncrev.command.taps import StopFrame, StopWord, Tap, Tee, with_frame_taps, with_taps
from asyncrev.errors import AsyncrevError, LocalError, SettingsError, WorkerHung
from asyncrev.frames.registry import as_framing
from asyncrev.processors import ProcessorFactory
from asyncrev.server.listen_sockets import inherited
from asyncrev.server.server import Server
from asyncrev.statistics import ServerStatistics

__all__ = ["serve_until_signal", "tapped"]

logger = logging.getLogger("asyncrev")

LAST_LINES_S = 0.5  # how long a blocked stderr may delay the exit

# What may keep a thread from being started.
THREAD_HINT = "; see ulimit -u, ulimit -v, and pids.max of the cgroup"


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
    log = _start_log(settings)  # the processor's module has been imported by now
    ours = ProcessSignals() if signals is None else signals
    ours.take_over()
    try:
        for warning in warnings:
            logger.warning("%s", warning)
        beside = 0 if settings.admin is None else ADMIN_DESCRIPTORS
        raise_descriptor_limit(settings.limits.max_connections + beside)
        if settings.cpu is not None:
            pin_to(settings.cpu)
        return _run_in_loop(settings, ours, log)
    finally:
        log.stop(LAST_LINES_S)
        if signals is None:
            ours.give_back()


def _start_log(settings: ServeSettings) -> ProcessLog:
    try:
        return ProcessLog(settings.log_level, log_format=settings.log_format)
    except RuntimeError as error:  # of threading
        raise LocalError(f"the thread of the log: {error}{THREAD_HINT}") from None


def _run_in_loop(settings: ServeSettings, signals: ProcessSignals, log: ProcessLog) -> int:
    runner = asyncio.Runner(loop_factory=settings.loop_factory)
    try:
        return runner.run(_serve(settings, signals, log))
    finally:
        try:
            runner.close()
        except RuntimeError as error:
            # Waiting for asyncio's executor takes a thread. Where none can be started, that must
            # neither hide the error which says so, nor change the code of a server that has ended.
            logger.debug("the loop was not closed as it should be: %s", error)


async def _serve(settings: ServeSettings, signals: ProcessSignals, log: ProcessLog) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    forced = asyncio.Event()
    stops: list[int] = []

    def on_signal(number: int, again: bool) -> None:
        if number == signal.SIGHUP:
            outputs.reopen_soon("SIGHUP", reloading)
        if number not in STOPS:
            if number != signal.SIGHUP:
                logger.warning("%s is ignored", name_of(number))
            return
        stops.append(number)
        (forced if again else stop).set()

    code = EXIT_RUNTIME_ERROR
    # Before anything slow.
    signals.deliver_to(loop, on_signal)
    outputs = OutputFiles()
    reloading: Callable[[], AbstractContextManager[None]] = nullcontext
    try:
        outputs.open(settings)
        factory = tapped(settings, outputs.tee, lambda: _set_from_worker(loop, stop))
        server = _make_server(settings, factory)
        if outputs.access_log is not None:
            server.on_connection_closed(outputs.access_log.note_closed)
        notifier = Notifier(settings.notify, server)
        reloading = notifier.reloading
        server.watch_first_input(ProxyHeaderWarning(settings.proxy is not None))
        admin = Admin(settings, server, lambda: _set_from_worker(loop, stop))

        async def before_drain(serving: "asyncio.Task[None]") -> None:
            admin.note_stop()
            notifier.stopping(settings.drain_delay_s + settings.limits.drain_timeout_s)
            await wait_before_drain(settings.drain_delay_s, stops, forced, serving)

        try:
            await admin.open()
            if await _start(server, settings, stop):
                warning = _memory_warning(settings, server)  # slow, so before the start line
                fields = {"fields": start_fields(settings, server)}
                logger.info("%s", start_line(settings, server), extra=fields)
                admin.start()
                notifier.ready()
                if warning is not None:
                    logger.warning("%s", warning)
                with following(server, settings.cpu, settings.more_cpus):
                    code = await _run(
                        server, stop, forced, stops, log.report_left_out, before_drain
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
            await server.close()  # `_run` has nearly always done it
        return code
    finally:
        signals.end(code)
        outputs.close()


def _make_server(settings: ServeSettings, factory: ProcessorFactory) -> Server:
    limits = settings.limits
    try:
        return Server(
            factory,
            framing=settings.framing,
            limits=limits,
            threads=settings.threads,
            ssl=settings.ssl,
            proxy=settings.proxy,
        )
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or "Cannot allocate memory"
        raise LocalError(
            f"--slots, --slot-bytes, --entries, --threads: {settings.threads} x "
            f"{limits.ring_bytes} bytes of rings: {reason}"
        ) from None


async def _listen(server: Server, settings: ServeSettings) -> None:
    """Start `server`; an error names the options that caused it."""
    given = settings.inherited
    if given.activated:
        names = "LISTEN_FDS"
    elif given.fd is not None:
        names = "--fd"
    else:
        names = "--uds" if settings.uds is not None else f"--host {settings.host!r}, --port"
    try:
        sockets = [inherited(one.fd, one.name) for one in given.activated]
        if given.fd is not None:
            sockets = [inherited(given.fd)]
        await server.start(
            settings.host,
            settings.port,
            uds=settings.uds,
            uds_mode=settings.uds_mode,
            sock=sockets or None,
            leave_queue=bool(given.activated),
        )
    except OSError as error:
        raise OSError(error.errno, f"{names}: {error.strerror or error}") from None
    except LocalError as error:
        raise type(error)(f"{names}: {error}") from None
    except RuntimeError as error:  # from threading
        raise LocalError(f"--threads {settings.threads}: {error}{THREAD_HINT}") from None


def _end_late(code: int) -> None:
    time.sleep(2 * LAST_LINES_S)
    os._exit(code)


async def _start(server: Server, settings: ServeSettings, stop: asyncio.Event) -> bool:
    """Make the server listen; return True, or False if a stop came first."""
    starting = asyncio.create_task(_listen(server, settings))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not starting.done():  # it is resolving a host name
        starting.cancel()
        await asyncio.wait((starting,))
    if starting.cancelled():
        logger.info("stopped before it listened")
        return False
    starting.result()
    return True


def _set_from_worker(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    loop.call_soon_threadsafe(event.set)


async def _run(
    server: Server,
    stop: asyncio.Event,
    forced: asyncio.Event,
    stops: list[int],
    report_left_out: Callable[[], None],
    before_drain: "Callable[[asyncio.Task[None]], Awaitable[None]]",
) -> int:
    serving = asyncio.create_task(server.serve_forever())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    try:
        if serving.done() and not stop.is_set():
            await serving  # raises the error that ended it
            return EXIT_RUNTIME_ERROR
        await before_drain(serving)
        if serving.done():
            await serving
        draining = asyncio.create_task(server.drain())
        forcing = asyncio.create_task(forced.wait())
        await asyncio.wait((draining, forcing), return_when=asyncio.FIRST_COMPLETED)
        forcing.cancel()
        if forced.is_set() and not draining.done():
            logger.warning("second signal: closing now")
            closing = asyncio.create_task(server.close())
            await asyncio.wait((closing, draining), timeout=0.1)
            for task in (closing, draining, serving):
                task.cancel()
            await asyncio.wait((closing, draining, serving), timeout=0.1)
            return EXIT_SIGNAL_BASE + stops[-1]
        clean = await draining
    except WorkerHung as error:
        logger.error("%s", error)
        return EXIT_DRAIN_ABORTED
    except AsyncrevError as error:
        logger.critical("%s", error)
        return EXIT_RUNTIME_ERROR
    report_left_out()  # before the totals, so that they are the last line
    statistics = server.statistics()
    logger.info(
        "stopped: %d connections, %d bytes received, %d replied, aborted %s",
        statistics.accepted,
        statistics.received_bytes,
        statistics.replied_bytes,
        statistics.aborted or "none",
        extra={"fields": _totals(statistics)},
    )
    return EXIT_CLEAN if clean else EXIT_DRAIN_ABORTED


def _totals(statistics: ServerStatistics) -> dict[str, object]:
    names = ("accepted", "received_bytes", "replied_bytes", "aborted")
    return {name: getattr(statistics, name) for name in names}


def _memory_warning(settings: ServeSettings, server: Server) -> str | None:
    return memory_warning(
        server.memory_bound_bytes,
        settings.limits,
        framed=settings.framing != "raw",
        bridges=len(server.bridges),
    )


def tapped(
    settings: ServeSettings, tee_file: OutputFile | None, request_stop: Callable[[], None]
) -> ProcessorFactory:
    chunk_taps: list[Callable[[], Tap]] = []
    if tee_file is not None:
        tee = Tee(tee_file, threading.Lock() if settings.threads > 1 else None)
        chunk_taps.append(lambda: tee)
    word = settings.stop_word
    grammar = as_framing(settings.framing)
    if grammar is not None:
        stop = None
        if word is not None:
            stop = StopFrame(word, request_stop, grammar)
            if grammar.forbidden_byte is not None and grammar.forbidden_byte in word:
                raise SettingsError(
                    f"the stop word has {grammar.forbidden_name}, so no {grammar.name} can be "
                    "equal to it"
                )
        return with_frame_taps(settings.factory, [make() for make in chunk_taps], stop)
    if word is not None:
        StopWord(word, request_stop)  # raises for a bad word now instead of at the first client
        chunk_taps.append(lambda: StopWord(word, request_stop))
    return with_taps(settings.factory, chunk_taps)
