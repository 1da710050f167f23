"""An engine from what a user gives as executor: a name, an executor, or a factory of executors."""

from collections.abc import Callable
from typing import Any

from asyncrev.errors import SettingsError
from asyncrev.executors.engine import ExecutorEngine
from asyncrev.executors.functions import as_executor_function
from asyncrev.executors.pools import (
    Source,
    default_workers,
    given,
    interpreters,
    processes,
    threads,
)
from asyncrev.executors.settings import KINDS, ExecutorSettings

__all__ = ["make_engine"]

_DEFAULTS = ExecutorSettings()
_LOCAL = {"processes": processes, "threads": threads, "interpreters": interpreters}


def make_engine(
    executor: Any,
    function: Any,
    settings: ExecutorSettings = _DEFAULTS,
    on_failed: Callable[[BaseException], object] = lambda error: None,
) -> ExecutorEngine:
    """Return an engine that has `function` called by an executor. Thread: any.

    Args:
        executor: a name of `KINDS`, a `concurrent.futures.Executor`, or a function without
            arguments that makes such.
        function: takes a frame's bytes, and returns those of the reply or None.
        settings: of the engine.
        on_failed: called on the loop's thread, once, if workers cannot be kept running.

    Raises:
        SettingsError: one of them cannot be used, or not with another one.
    """
    source = _source(executor, settings)
    checked = as_executor_function(function, travels=source.travels)
    if executor == "interpreters" and str(checked.call).startswith("__main__:"):
        raise SettingsError(
            f"processor {function!r} is a function of the main module, which interpreters cannot "
            "import; define it in a module of its own"
        )
    if executor == "dask" and not checked.idempotent:
        raise SettingsError(
            f"processor {function!r} does not say whether a frame may be processed twice, which "
            "Dask does when a worker is lost; if it may, set its attribute: "
            f"{getattr(function, '__name__', 'work')}.idempotent = True; else use processes"
        )
    return ExecutorEngine(source, checked, settings, on_failed)


def _source(executor: Any, settings: ExecutorSettings) -> Source:
    if settings.address is not None and executor != "dask":
        raise SettingsError(
            f"address is {settings.address!r}, but executor is {executor!r}; only dask has one"
        )
    if not isinstance(executor, str):
        return given(executor, settings.workers)
    workers = settings.workers or default_workers()
    if executor == "dask":
        from asyncrev.executors.dask_source import DaskSource  # an extra

        return DaskSource(settings.address, workers)
    make = _LOCAL.get(executor)
    if make is None:
        raise SettingsError(
            f"executor is {executor!r}; give one of {', '.join(KINDS)}, or an executor"
        )
    return make(workers)
