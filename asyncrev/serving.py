"""One server as a process: start line, signals, drain, exit code."""

import asyncio
import dataclasses
import logging
import os
import resource
import signal
import ssl as ssl_module
import threading
import time
from collections.abc import Callable

from asyncrev.affinity import pin_to
from asyncrev.endpoints import describe, inherited
from asyncrev.errors import AsyncrevError, LocalError, SettingsError, WorkerHung
from asyncrev.frames.registry import as_framing
from asyncrev.limits import Limits
from asyncrev.log_setup import ProcessLog
from asyncrev.machine_memory import memory_warning
from asyncrev.processors import ProcessorFactory
from asyncrev.proxy_header import ProxyHeaderWarning
from asyncrev.server import Server
from asyncrev.signals import EXIT_SIGNAL_BASE, STOPS, ProcessSignals, name_of
from asyncrev.taps import StopFrame, StopWord, Tap, Tee, with_frame_taps, with_taps
from asyncrev.tee_file import close_tee, open_tee
from asyncrev.unix_path import DEFAULT_MODE
from asyncrev.version import __version__

__all__ = [
    "EXIT_CLEAN",
    "EXIT_DRAIN_CUT",
    "EXIT_RUNTIME_ERROR",
    "EXIT_USAGE",
    "ServeOptions",
    "serve_until_signal",
]

logger = logging.getLogger("asyncrev")

EXIT_CLEAN = 0
EXIT_RUNTIME_ERROR = 1
EXIT_USAGE = 2
EXIT_DRAIN_CUT = 3

LAST_LINES_S = 0.5  # how long a stderr that nobody reads may hold up the end

# What is said of a signal that is no stop, beside that it is ignored.
REMARKS: dict[int, str] = {
    signal.SIGHUP: "; it is reserved for reloading, which does not exist yet",
}

# Descriptors that are no connections: standard streams, listener, epoll, self-pipe, tee, modules.
SPARE_DESCRIPTORS = 64


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What `asyncrev serve` was asked for."""

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
    fd: int | None = None
    ssl: ssl_module.SSLContext | None = None
    threads: int = 1


def serve_until_signal(options: ServeOptions, signals: ProcessSignals | None = None) -> int:
    """Serve until a signal or the stop word; return the exit code. Thread: main.

    `signals`: the owner of the process's signals. Without one, handlers are as before afterwards.

    Raises:
        OSError: the address cannot be bound, or the tee's file not opened.
        LocalError: the UNIX path is somebody else's, or a setting cannot be used.
    """
    log = ProcessLog(options.log_level)  # the processor's module has been imported by now
    ours = ProcessSignals() if signals is None else signals
    ours.take_over()
    try:
        _raise_descriptor_limit(options.limits.max_connections)
        if options.cpu is not None:
            pin_to(options.cpu)
        with asyncio.Runner(loop_factory=options.loop_factory) as runner:
            return runner.run(_serve(options, ours))
    finally:
        log.stop(LAST_LINES_S)
        if signals is None:
            ours.give_back()


async def _serve(options: ServeOptions, signals: ProcessSignals) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    forced = asyncio.Event()
    stops: list[int] = []

    def on_signal(number: int, again: bool) -> None:
        if number not in STOPS:
            logger.warning("%s is ignored%s", name_of(number), REMARKS.get(number, ""))
            return
        stops.append(number)
        (forced if again else stop).set()

    code = EXIT_RUNTIME_ERROR
    # Before anything that takes long.
    signals.deliver_to(loop, on_signal)
    tee_fd = -1
    try:
        if options.tee is not None:
            tee_fd = open_tee(options.tee)
        factory = _tapped(options, tee_fd, lambda: _set_from_worker(loop, stop))
        server = _make_server(options, factory)
        server.watch_first_input(ProxyHeaderWarning())
        try:
            if await _start(server, options, stop):
                warning = _memory_warning(
                    options, server
                )  # it reads files: before it says it serves
                logger.info("%s", _start_line(options, server))
                if warning is not None:
                    logger.warning("%s", warning)
                code = await _run(server, stop, forced, stops)
            else:
                code = EXIT_CLEAN
                if signals.owns_process:
                    # asyncio and the interpreter wait for the resolver's thread, which has no end.
                    threading.Thread(target=_end_late, args=(code,), daemon=True).start()
        finally:
            await server.close()  # nearly always it is, by `_run`
        return code
    finally:
        signals.end(code)
        if options.tee is not None:
            close_tee(tee_fd, options.tee)


def _make_server(options: ServeOptions, factory: ProcessorFactory) -> Server:
    limits = options.limits
    try:
        return Server(
            factory,
            framing=options.framing,
            limits=limits,
            threads=options.threads,
            ssl=options.ssl,
        )
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or "Cannot allocate memory"
        raise LocalError(
            f"--slots, --slot-bytes, --entries, --threads: {options.threads} x {limits.ring_bytes} "
            f"bytes of rings: {reason}"
        ) from None


async def _listen(server: Server, options: ServeOptions) -> None:
    """Start `server`; an error names the options that it comes from."""
    if options.fd is not None:
        names = "--fd"
    else:
        names = "--uds" if options.uds is not None else f"--host {options.host!r}, --port"
    try:
        sock = None if options.fd is None else inherited(options.fd)
        await server.start(
            options.host, options.port, uds=options.uds, uds_mode=options.uds_mode, sock=sock
        )
    except OSError as error:
        raise OSError(error.errno, f"{names}: {error.strerror or error}") from None
    except LocalError as error:
        raise type(error)(f"{names}: {error}") from None
    except RuntimeError as error:  # of threading
        raise LocalError(
            f"--threads {options.threads}: {error}; see ulimit -u, and pids.max of the cgroup"
        ) from None


def _end_late(code: int) -> None:
    time.sleep(2 * LAST_LINES_S)
    os._exit(code)


async def _start(server: Server, options: ServeOptions, stop: asyncio.Event) -> bool:
    """Make the server listen; return whether it does, before a stop came."""
    starting = asyncio.create_task(_listen(server, options))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not starting.done():  # it waits for the address of a name
        starting.cancel()
        await asyncio.wait((starting,))
    if starting.cancelled():
        logger.info("stopped before it listened")
        return False
    starting.result()
    return True


def _set_from_worker(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    loop.call_soon_threadsafe(event.set)


async def _run(server: Server, stop: asyncio.Event, forced: asyncio.Event, stops: list[int]) -> int:
    serving = asyncio.create_task(server.serve_forever())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    try:
        if serving.done() and not stop.is_set():
            await serving  # raises what ended it
            return EXIT_RUNTIME_ERROR
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
        return EXIT_DRAIN_CUT
    except AsyncrevError as error:
        logger.critical("%s", error)
        return EXIT_RUNTIME_ERROR
    statistics = server.statistics()
    logger.info(
        "stopped: %d connections, %d bytes received, %d replied, cut %s",
        statistics.accepted,
        statistics.received_bytes,
        statistics.replied_bytes,
        statistics.cut or "none",
    )
    return EXIT_CLEAN if clean else EXIT_DRAIN_CUT


def _start_line(options: ServeOptions, server: Server) -> str:
    limits = options.limits
    where = ", ".join(describe(address) for address in server.addresses)
    if options.ssl is not None:
        where += " (TLS)"
    times = "" if options.threads == 1 else f"{options.threads} x "
    if options.framing == "raw":
        framed, parts = "", ""
    else:
        framed = (
            f"max_frame_bytes={limits.max_frame_bytes} pool_bytes={limits.pool_bytes} "
            f"pool_connection_bytes={limits.pool_connection_bytes} "
            f"frame_timeout_s={limits.frame_timeout_s:g} "
        )
        parts = f" + {times}pool {limits.pool_bytes}"
    return (
        f"asyncrev {__version__} serving on {where} loop={options.loop_name} "
        f"processor={options.processor_name} framing={options.framing} "
        f"cpu={'any' if options.cpu is None else options.cpu} threads={options.threads} "
        f"slots={limits.slots} slot_bytes={limits.slot_bytes} entries={limits.entries} "
        f"max_connections={limits.max_connections} {framed}"
        f"high_water_bytes={limits.high_water_bytes} max_reply_bytes={limits.max_reply_bytes} "
        f"first_byte_timeout_s={limits.first_byte_timeout_s:g} "
        f"idle_timeout_s={limits.idle_timeout_s:g} "
        f"write_stall_timeout_s={limits.write_stall_timeout_s:g} "
        f"drain_timeout_s={limits.drain_timeout_s:g} "
        f"memory_bound_bytes={server.memory_bound_bytes} "
        f"({times}ring {limits.ring_bytes}{parts} + "
        f"{limits.max_connections} x {server.connection_bytes}, ...)"
        f"{'' if server.replies_are_bounded else ' and replies, which have no bound'}"
    )


def _memory_warning(options: ServeOptions, server: Server) -> str | None:
    return memory_warning(
        server.memory_bound_bytes,
        options.limits,
        framed=options.framing != "raw",
        bridges=len(server.bridges),
    )


def _tapped(
    options: ServeOptions, tee_fd: int, request_stop: Callable[[], None]
) -> ProcessorFactory:
    chunk_taps: list[Callable[[], Tap]] = []
    if options.tee is not None:
        tee = Tee(tee_fd, options.tee, threading.Lock() if options.threads > 1 else None)
        chunk_taps.append(lambda: tee)
    word = options.stop_word
    grammar = as_framing(options.framing)
    if grammar is not None:
        stop = None
        if word is not None:
            stop = StopFrame(word, request_stop, grammar)
            if grammar.forbidden_byte is not None and grammar.forbidden_byte in word:
                raise SettingsError(
                    f"the stop word has {grammar.forbidden_name}, so no {grammar.name} can be "
                    "equal to it"
                )
        return with_frame_taps(options.factory, [make() for make in chunk_taps], stop)
    if word is not None:
        StopWord(word, request_stop)  # raises for a bad word now, not at the first client
        chunk_taps.append(lambda: StopWord(word, request_stop))
    return with_taps(options.factory, chunk_taps)


def _raise_descriptor_limit(max_connections: int) -> None:
    wanted = max_connections + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    reach = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, reach), hard))
    except (OSError, ValueError) as error:
        raise LocalError(f"cannot raise the limit of open files to {reach}: {error}") from None
    if reach < wanted:
        logger.warning(
            "max_connections is %d, but this process may open only %d descriptors (ulimit -n); "
            "beyond that, accepting waits",
            max_connections,
            reach,
        )
