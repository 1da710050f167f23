"""Checks of a function that executors are to call, with messages that say what to do instead."""

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from asyncrev.errors import SettingsError
from asyncrev.processor_checks import check_function
from asyncrev.processors import declares

__all__ = ["ExecutorFunction", "as_executor_function"]

_INSTEAD = "write it as a function of a module: def work(frame: bytes) -> bytes"


class ExecutorFunction(NamedTuple):
    """A function and what it declares.

    Attributes:
        call: what workers get: the function, or its name if it travels.
        idempotent: whether a frame may be processed twice.
        may_be_tried: whether it may be called with an empty frame at the start.
    """

    call: Callable[[bytes], Any] | str
    idempotent: bool
    may_be_tried: bool


def as_executor_function(function: Any, *, travels: bool) -> ExecutorFunction:
    """Return what workers need of `function`. Thread: any.

    `travels`: whether workers are other processes or interpreters, which import it by its name.

    Raises:
        SettingsError: it cannot be called with a frame, or cannot travel.
    """
    if isinstance(function, type):
        raise SettingsError(
            f"processor {function!r} is a class; an executor keeps no state per connection, so "
            f"{_INSTEAD}"
        )
    if inspect.iscoroutinefunction(function):
        raise SettingsError(
            f"processor {function!r} is a coroutine function (async def), and an executor calls "
            "functions; leave the executor out, and it runs on the event loop"
        )
    if not check_function(function):
        raise SettingsError(
            f"processor {function!r} needs no argument, so it is a factory of processors; an "
            f"executor keeps no state per connection: {_INSTEAD}"
        )
    call = _name_of(function) if travels else function
    return ExecutorFunction(
        call, declares(function, "idempotent"), declares(function, "may_be_tried")
    )


def _name_of(function: Any) -> str:
    """Return the name by which workers import `function`."""
    what = f"processor {function!r} cannot travel to the workers of an executor"
    if isinstance(function, functools.partial):
        raise SettingsError(
            f"{what}: it is a functools.partial; write a function of a module that calls it: "
            "def work(frame): return ..."
        )
    module_name = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", None)
    if inspect.ismethod(function) and not isinstance(function.__self__, type):
        raise SettingsError(
            f"{what}: it is a method of an object, whose state would be copied; {_INSTEAD}"
        )
    if not isinstance(module_name, str) or not isinstance(name, str):
        raise SettingsError(
            f"{what}: it is an object of type {type(function).__name__}; {_INSTEAD}"
        )
    if "<lambda>" in name:
        raise SettingsError(f"{what}: it is a lambda, which has no name there; {_INSTEAD}")
    if "<locals>" in name:
        raise SettingsError(
            f"{what}: it is defined within another function, so a worker cannot import it; "
            f"{_INSTEAD}"
        )
    found: Any = sys.modules.get(module_name)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found != function:
        raise SettingsError(
            f"{what}: {module_name}:{name} is {found!r} and not this function; a decorator without "
            "functools.wraps makes such functions: use that there, or give it a name of its own"
        )
    return f"{module_name}:{name}"
