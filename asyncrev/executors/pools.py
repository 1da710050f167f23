"""Where workers of executors come from, and how they end.

A `Source` makes executors; the engine has one executor per `Source.units`. Processes, threads and
interpreters get an executor with one worker each, because of what is known then when a worker dies:
such an executor runs its calls one after the other, so only the first of them can have begun, and
no other worker's calls are lost with it.

Methods may block; the engine calls all but `workers` and `loss_of` on threads of their own.
"""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from typing import Any, NamedTuple, Protocol

from asyncrev.errors import SettingsError
from asyncrev.executors.interpreter_executor import InterpreterExecutor, check_interpreters
from asyncrev.executors.process_executor import ProcessExecutor
from asyncrev.executors.thread_executor import ThreadExecutor

__all__ = [
    "START_TIMEOUT_S",
    "GivenExecutors",
    "Loss",
    "OneWorkerEach",
    "Source",
    "default_workers",
    "end_executor",
    "given",
    "interpreters",
    "loss_of",
    "processes",
    "threads",
]

JOIN_TIMEOUT_S = 1.0  # for a thread that may hang; at its end it closes its interpreter
START_TIMEOUT_S = 60.0  # for an import in every worker; NumPy's takes 0.1 s, PyTorch's several


class Loss(NamedTuple):
    """Why a call has no result.

    Attributes:
        cause: died or cancelled.
        is_executor: whether the executor is lost with it.
    """

    cause: str
    is_executor: bool


class Source(Protocol):
    """Makes the executors of an engine; see the module.

    Attributes:
        units: how many executors the engine is to have.
        travels: whether workers import the function by its name.
        shares_memory: whether workers are processes or interpreters of this machine.
        can_replace: whether there can be another executor after the first.
        in_order: whether a lone worker of an executor runs the calls in their order.
    """

    units: int
    travels: bool
    shares_memory: bool
    can_replace: bool
    in_order: bool

    def make(self) -> Executor:
        """Return a new executor, whose workers need not have started."""
        ...

    def workers(self, executor: Executor) -> int:
        """Return how many calls it runs at once. Must not block."""
        ...

    def loss_of(self, error: BaseException) -> "Loss | None":
        """Return what is lost if a call's error is not the function's, else None."""
        ...

    def end(self, executor: Executor, *, kill: bool) -> None:
        """End an executor; with `kill` without its calls, else after those that run. May block."""
        ...


def default_workers() -> int:
    """Return one worker per core that this process may use."""
    return len(os.sched_getaffinity(0))


def loss_of(error: BaseException) -> Loss | None:
    """Return what is lost if an error of concurrent.futures means that a worker is."""
    if isinstance(error, BrokenExecutor):
        return Loss("died", is_executor=True)
    return Loss("cancelled", is_executor=False) if isinstance(error, CancelledError) else None


def kill_processes(executor: Executor) -> None:
    """Kill the worker processes of an executor that has such on this machine. Thread: any."""
    if isinstance(executor, ProcessExecutor):
        executor.kill()
        return
    processes: Any = getattr(executor, "_processes", None)  # a public way is in 3.14 only
    for process in tuple((processes or {}).values()):
        process.kill()


def end_executor(executor: Executor, *, kill: bool) -> None:
    """See `Source.end`. A thread that hangs cannot be ended: it is left alone."""
    if kill:
        kill_processes(executor)
        has_processes = isinstance(executor, (ProcessExecutor, ProcessPoolExecutor))
        executor.shutdown(wait=has_processes, cancel_futures=True)
        if isinstance(executor, (InterpreterExecutor, ThreadExecutor)):
            executor.join(JOIN_TIMEOUT_S)
    else:
        executor.shutdown(wait=True, cancel_futures=True)


class OneWorkerEach:
    """Executors with one worker; see `Source`."""

    can_replace = True
    in_order = True

    def __init__(
        self, make: Callable[[], Executor], units: int, *, travels: bool, shares_memory: bool
    ) -> None:
        self.make = make
        self.units = units
        self.travels = travels
        self.shares_memory = shares_memory

    def workers(self, executor: Executor) -> int:
        """See `Source.workers`."""
        return 1

    def loss_of(self, error: BaseException) -> "Loss | None":
        """See `Source.loss_of`."""
        return loss_of(error)

    def end(self, executor: Executor, *, kill: bool) -> None:
        """See `Source.end`."""
        end_executor(executor, kill=kill)


def processes(workers: int) -> OneWorkerEach:
    """Return the source of worker processes, from a fork server: a fork would copy threads' locks,
    descriptors and sockets of the server."""
    context = multiprocessing.get_context("forkserver")

    def make() -> Executor:
        return ProcessExecutor(context, START_TIMEOUT_S)

    return OneWorkerEach(make, workers, travels=True, shares_memory=True)


def threads(workers: int) -> OneWorkerEach:
    """Return the source of threads."""

    return OneWorkerEach(ThreadExecutor, workers, travels=False, shares_memory=False)


def interpreters(workers: int) -> OneWorkerEach:
    """Return the source of interpreters.

    Raises:
        SettingsError: this Python has none.
    """
    check_interpreters()

    def make() -> Executor:
        return InterpreterExecutor(START_TIMEOUT_S)

    return OneWorkerEach(make, workers, travels=True, shares_memory=True)


class GivenExecutors:
    """The executor of a user, or those that a user's factory makes; see `Source`."""

    units = 1
    shares_memory = False

    def __init__(
        self,
        first: Executor,
        replace: Callable[[], Executor] | None,
        workers: int | None,
        users: Executor | None = None,
    ) -> None:
        """Prepare.

        Args:
            first: the executor to begin with.
            replace: makes another one, when one is lost; None if nothing can.
            workers: how many calls each runs at once; None if they say so themselves.
            users: the one that the user ends, unless it hangs.
        """
        self._first: Executor | None = first
        self._users = users
        self._replace = replace
        self._workers = workers
        self.travels = not isinstance(first, ThreadPoolExecutor)
        self.can_replace = replace is not None
        self.in_order = type(first) in (ProcessPoolExecutor, ThreadPoolExecutor)

    def make(self) -> Executor:
        """See `Source.make`."""
        executor, self._first = self._first, None
        if executor is not None:
            return executor
        assert self._replace is not None  # the engine has looked at `can_replace`
        return _checked(self._replace())

    def workers(self, executor: Executor) -> int:
        """See `Source.workers`."""
        return self._workers or int(getattr(executor, "_max_workers", 1))

    def loss_of(self, error: BaseException) -> "Loss | None":
        """See `Source.loss_of`."""
        return loss_of(error)

    def end(self, executor: Executor, *, kill: bool) -> None:
        """See `Source.end`."""
        if kill or executor is not self._users:
            end_executor(executor, kill=kill)


def given(executor: Any, workers: int | None) -> GivenExecutors:
    """Return the source for an executor, or for a factory of executors.

    A `ProcessPoolExecutor` that breaks is replaced by one with the same arguments; any other one
    only by a factory.

    Raises:
        SettingsError: it is neither, or forks, or the factory raised.
    """
    if isinstance(executor, Executor):
        again = _like(executor) if type(executor) is ProcessPoolExecutor else None
        return GivenExecutors(_checked(executor), again, workers, executor)
    if not callable(executor):
        raise SettingsError(
            f"executor is {executor!r}; give a concurrent.futures.Executor, a function that makes "
            'one, or "processes", "threads", "interpreters" or "dask"'
        )
    try:
        made = executor()
    except Exception as error:
        name = getattr(executor, "__qualname__", repr(executor))
        raise SettingsError(
            f"executor {name} raised {error!r} when it was called without arguments; give a "
            "function that makes a concurrent.futures.Executor"
        ) from error
    return GivenExecutors(_checked(made), executor, workers)


def _checked(executor: Any) -> Executor:
    """Return `executor` if it may be used.

    Raises:
        SettingsError: it is none, or forks.
    """
    if not isinstance(executor, Executor):
        raise SettingsError(
            f"the factory of executors returned {executor!r}; it must return a "
            "concurrent.futures.Executor"
        )
    context: Any = getattr(executor, "_mp_context", None)
    if context is not None and context.get_start_method() == "fork":
        raise SettingsError(
            f"executor {executor!r} forks its workers, which may hang on locks that threads of "
            'this process hold; give it mp_context=multiprocessing.get_context("forkserver")'
        )
    return executor


def _like(executor: Any) -> Callable[[], Executor]:
    arguments = {
        "max_workers": executor._max_workers,
        "mp_context": executor._mp_context,
        "initializer": executor._initializer,
        "initargs": executor._initargs,
        "max_tasks_per_child": executor._max_tasks_per_child,
    }
    return lambda: ProcessPoolExecutor(**arguments)
