"""The server of a process, made of its settings; errors name the options that caused them."""

import threading
from collections.abc import Callable

from asyncrev.command.listen_options import names_of, naming, passed_sockets
from asyncrev.command.machine_memory import memory_warning
from asyncrev.command.output_file import OutputFile
from asyncrev.command.output_files import OutputFiles
from asyncrev.command.process_run import THREAD_HINT
from asyncrev.command.proxy_header import ProxyHeaderWarning
from asyncrev.command.settings import ServeSettings
from asyncrev.command.taps import StopFrame, StopWord, Tap, Tee, with_frame_taps, with_taps
from asyncrev.errors import LocalError, SettingsError
from asyncrev.frames.registry import as_framing
from asyncrev.processors import ProcessorFactory
from asyncrev.server.server import Server

__all__ = ["listen", "make_server", "memory_warning_of", "server_with", "tapped"]


def make_server(settings: ServeSettings, factory: ProcessorFactory) -> Server:
    """Return the server of the settings, with the processors of `factory`. Thread: the loop's.

    Raises:
        LocalError: there is no memory for its rings.
        SettingsError: see `Server`.
    """
    limits, choice = settings.limits, settings.executor
    try:
        return Server(
            factory,
            framing=settings.framing,
            limits=limits,
            threads=settings.threads,
            ssl=settings.ssl,
            proxy=settings.proxy,
            executor=None if choice is None else choice.executor,
            executor_settings=None if choice is None else choice.settings,
        )
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or "Cannot allocate memory"
        raise LocalError(
            f"--slots, --slot-bytes, --entries, --threads: {settings.threads} x "
            f"{limits.ring_bytes} bytes of rings: {reason}"
        ) from None


def server_with(
    settings: ServeSettings, outputs: OutputFiles, request_stop: Callable[[], None]
) -> Server:
    """Return the server of the settings, which writes `outputs`. Thread: the loop's.

    `request_stop` is called on a worker's thread when the stop word comes.

    Raises:
        LocalError, SettingsError: see `make_server` and `tapped`.
    """
    server = make_server(settings, tapped(settings, outputs.tee, request_stop))
    if outputs.access_log is not None:
        server.on_connection_closed(outputs.access_log.note_closed)
    server.watch_first_input(ProxyHeaderWarning(settings.proxy is not None))
    return server


async def listen(server: Server, settings: ServeSettings, *, listens: bool = True) -> None:
    """Make the server listen; a stop may cancel it while it resolves a host name.

    `listens`: whether it has sockets to listen on; a worker may be handed its connections instead.

    Raises:
        OSError: an address cannot be bound.
        LocalError: see `Server.start`, or no thread can be started.
    """
    given = settings.inherited
    names = names_of(given, settings.uds, settings.host) if listens else "--processor"
    try:
        with naming(names):
            sockets = passed_sockets(given)
            takes_sockets = bool(sockets) or not listens
            await server.start(
                settings.host,
                settings.port,
                uds=None if takes_sockets else settings.uds,
                uds_mode=settings.uds_mode,
                sock=sockets if takes_sockets else None,
                leave_queue=bool(given.activated),
            )
    except RuntimeError as error:  # from threading
        raise LocalError(f"--threads {settings.threads}: {error}{THREAD_HINT}") from None


def memory_warning_of(settings: ServeSettings, server: Server) -> str | None:
    """Return a warning if the server may hold more than the machine has. It takes milliseconds."""
    return memory_warning(
        server.memory_bound_bytes,
        settings.limits,
        framed=settings.framing != "raw",
        bridges=len(server.bridges),
    )


def tapped(
    settings: ServeSettings, tee_file: OutputFile | None, request_stop: Callable[[], None]
) -> ProcessorFactory:
    """Return the processors of the settings, with --tee and --stop-word before each.

    `request_stop` is called on a worker's thread.

    Raises:
        SettingsError: the stop word cannot come.
    """
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
