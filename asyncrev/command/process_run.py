"""What a process that serves has around its loop: log, signals, descriptors, core."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from asyncrev.command.affinity import pin_to
from asyncrev.command.descriptor_limit import raise_descriptor_limit
from asyncrev.command.log_setup import ProcessLog
from asyncrev.command.settings import ServeSettings
from asyncrev.command.signals import ProcessSignals
from asyncrev.errors import LocalError

__all__ = ["LAST_LINES_S", "THREAD_HINT", "run_process", "run_with_log"]

logger = logging.getLogger("asyncrev")

LAST_LINES_S = 0.5  # how long a blocked stderr may delay the exit

# What may keep a thread from being started.
THREAD_HINT = "; see ulimit -u, ulimit -v, and pids.max of the cgroup"

Serve = Callable[[ServeSettings, ProcessSignals, ProcessLog], Coroutine[Any, Any, int]]


def run_process(
    serve: Serve,
    settings: ServeSettings,
    signals: ProcessSignals | None = None,
    warnings: Sequence[str] = (),
    *,
    more_descriptors: int = 0,
    worker: str = "",
) -> int:
    """Run `serve` in a loop of its own and return the exit code that it returns. Thread: main.

    Args:
        serve: what is run.
        settings: for the process, too.
        signals: the owner of the process's signals. Without one, the handlers are restored at the
            end.
        warnings: what to log before anything else.
        more_descriptors: how many are open beside those of connections and of the server.
        worker: the name of this worker, for its log.

    Raises:
        LocalError: no thread can be started.
        OSError: the core of --cpu cannot be used, or `serve` has raised it.
    """
    return run_with_log(
        lambda ours, log: serve(settings, ours, log),
        signals,
        warnings,
        log_level=settings.log_level,
        log_format=settings.log_format,
        worker=worker,
        descriptors=settings.limits.max_connections + more_descriptors,
        cpu=settings.cpu,
        loop_factory=settings.loop_factory,
    )


def run_with_log(
    serve: Callable[[ProcessSignals, ProcessLog], Coroutine[Any, Any, int]],
    signals: ProcessSignals | None,
    warnings: Sequence[str],
    *,
    log_level: str,
    log_format: str,
    descriptors: int,
    worker: str = "",
    cpu: int | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> int:
    """Do what `run_process` does, for a process without the settings of a server. Thread: main.

    Args:
        serve: what is run.
        signals, warnings, worker: see `run_process`.
        log_level, log_format: of the log.
        descriptors: how many may be open, beside the usual ones.
        cpu: the core to run on, or None for any.
        loop_factory: makes the loop; None for asyncio's.

    Raises:
        LocalError, OSError: as from `run_process`.
    """
    # The processor's module has been imported by now, if it is at all.
    try:
        log = ProcessLog(log_level, log_format=log_format, worker=worker)
    except RuntimeError as error:  # of threading
        raise LocalError(f"the thread of the log: {error}{THREAD_HINT}") from None
    ours = ProcessSignals() if signals is None else signals
    ours.take_over()
    try:
        for warning in warnings:
            logger.warning("%s", warning)
        raise_descriptor_limit(descriptors)
        if cpu is not None:
            pin_to(cpu)
        return _run_in_loop(serve(ours, log), loop_factory)
    finally:
        log.stop(LAST_LINES_S)
        if signals is None:
            ours.give_back()


def _run_in_loop(
    serving: Coroutine[Any, Any, int],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None,
) -> int:
    runner = asyncio.Runner(loop_factory=loop_factory)
    try:
        return runner.run(serving)
    finally:
        try:
            runner.close()
        except RuntimeError as error:
            # Waiting for asyncio's executor takes a thread. Where none can be started, that must
            # neither hide the error which says so, nor change the code of a server that has ended.
            logger.debug("the loop was not closed as it should be: %s", error)
