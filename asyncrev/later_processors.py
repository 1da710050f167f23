"""Processors whose replies come later: coroutine functions, and classes whose `process` is one.

They run on the event loop of their bridge, not on its worker; see `bridge.coroutines`.
"""

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any, NoReturn, Self

from asyncrev.errors import LocalError, SettingsError

__all__ = ["CoroutineFactory", "LaterFactory", "coroutine_factory"]

_METHODS = (("process", 1), ("connected", 1), ("eof", 0), ("close", 0))


class LaterFactory:
    """What is known of a processor whose replies come later. Thread: any.

    Attributes:
        named: the processor, as a user has given it.
        replies_fit: see `Processor`.
        speaks_first: whether it has a method `connected`, called before there is input.
        calls_eof: whether it has a method `eof`.
        wrap: makes a processor with taps from one without, on the worker; None without taps.
        engine: a `bridge.engine.Engine` that answers in its place, if it brings one.
    """

    __slots__ = ("calls_eof", "engine", "named", "replies_fit", "speaks_first", "wrap")

    def __init__(self, named: Any, *, replies_fit: bool) -> None:
        self.named = named
        self.replies_fit = replies_fit
        self.speaks_first = False
        self.calls_eof = False
        self.wrap: Callable[[Any], Any] | None = None
        self.engine: Any = None

    def tapped(self, wrap: Callable[[Any], Any]) -> Self:
        """Return the same with taps that see its input on the worker."""
        tapped = copy.copy(self)
        tapped.wrap = wrap
        return tapped

    def check_usable(self) -> None:
        """Raise SettingsError if no connection can be made with it now."""

    def __call__(self) -> NoReturn:
        """Refuse: nothing of it is called on the worker.

        Raises:
            LocalError: always.
        """
        raise LocalError(
            f"replies of processor {self.named!r} come later than a call; it is for connections, "
            "not for submit()"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.named!r}>"


class CoroutineFactory(LaterFactory):
    """What is known of an asynchronous processor. Thread: any.

    Attributes:
        function: the coroutine function, or None.
        make: makes an object with an asynchronous `process`, or None.
    """

    __slots__ = ("function", "make")

    def __init__(self, processor: Any, *, is_function: bool) -> None:
        kind = _behind(processor)
        super().__init__(processor, replies_fit=bool(getattr(kind, "replies_fit", False)))
        self.function = processor if is_function else None
        self.make = None if is_function else processor
        if not is_function:
            self.speaks_first = getattr(kind, "connected", None) is not None
            self.calls_eof = getattr(kind, "eof", None) is not None


def coroutine_factory(processor: Any) -> CoroutineFactory | None:
    """Return what is known of an asynchronous processor, or None if it is no such. Thread: any.

    Raises:
        SettingsError: it is one, and cannot be called as one.
    """
    if isinstance(processor, CoroutineFactory):
        return processor
    behind = _behind(processor)
    if isinstance(behind, type):
        if not inspect.iscoroutinefunction(getattr(behind, "process", None)):
            return None
        _check_class(processor, behind)
        return CoroutineFactory(processor, is_function=False)
    call = (
        behind
        if inspect.isroutine(behind)
        else inspect.getattr_static(type(behind), "__call__", None)
    )
    if not inspect.iscoroutinefunction(call):
        if inspect.iscoroutinefunction(getattr(behind, "process", None)):
            raise SettingsError(
                f"processor {processor!r} is an object that all connections would share; give its "
                f"class, {type(behind).__name__}, or functools.partial with its arguments"
            )
        return None
    _check_arguments(processor, 1, "the coroutine function gets one argument, the bytes")
    return CoroutineFactory(processor, is_function=True)


def _check_class(processor: Any, cls: type) -> None:
    _check_arguments(
        processor,
        0,
        f"one {cls.__name__} is made for each connection without arguments; give them with "
        f"functools.partial({cls.__name__}, ...)",
    )
    for name, number in _METHODS:
        method = getattr(cls, name, None)
        if method is None:
            continue
        if not callable(method) or inspect.isasyncgenfunction(method):
            raise SettingsError(f"{cls.__name__}.{name} of processor {processor!r} is no method")
        wanted = number + (not isinstance(inspect.getattr_static(cls, name), staticmethod))
        _check_arguments(method, wanted, f"{cls.__name__}.{name} gets {number}", processor)


def _check_arguments(function: Any, number: int, words: str, processor: Any = None) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*(None,) * number)
    except TypeError as error:
        raise SettingsError(
            f"processor {processor if processor is not None else function!r} cannot be called as "
            f"asynchronous processors are: {error}; {words}"
        ) from None


def _behind(processor: Any) -> Any:
    while isinstance(processor, functools.partial):
        processor = processor.func
    return processor
