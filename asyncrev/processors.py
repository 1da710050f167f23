"""What a processor is, how plain functions become one, and what may come out of it."""

import inspect
import weakref
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, runtime_checkable

from asyncrev.buffers import byte_view
from asyncrev.errors import ProcessorError, SettingsError
from asyncrev.processor_checks import (
    check_class,
    check_function,
    check_methods,
    hint_at_bytes,
    takes_arguments,
)

__all__ = [
    "Buffer",
    "FunctionProcessor",
    "Processor",
    "ProcessorFactory",
    "Reply",
    "as_factory",
    "as_reply",
    "check_reply",
    "make_processor",
]

# What callers may write for "bytes-like"; anything with the buffer protocol works when it runs.
Buffer: TypeAlias = bytes | bytearray | memoryview

# What goes back to the loop: memory that is not changed before it is sent, in one piece or more.
Reply: TypeAlias = bytes | memoryview | tuple[bytes | memoryview, ...]


@runtime_checkable
class Processor(Protocol):
    """The work on one connection's bytes: one instance a connection, on the worker thread only.

    A processor with a method `close()` has it called, once, when its connection or the bridge
    has gone.
    What it raises closes its connection only, and reaches the loop's exception handler.

    A class (or factory) with a true attribute `may_run_inline` says that its work on a small chunk
    is a matter of microseconds and does not depend on the chunks before: then one object may
    answer some chunks of a connection on the loop's thread while another one answers the rest on
    the worker's (`Limits.inline_below_bytes`). The former gets no `eof()` and no `close()`.

    One with a true attribute `replies_fit` says that no reply is longer than what it answers, so
    that a server's memory bound has no term for such replies. It is believed, not checked.

    With framing, a chunk is the payload of one frame, which may be empty, and a reply becomes a
    frame. A processor may then have a method that takes many whole frames at once, as they came:
    `process_lines(lines)` or `process_prefixed(frames, runs, prefix_bytes)`; see `Reverse`.
    With lines no reply may contain a line end: it would be taken for two, and shift all later
    ones. `process_lines` may return at most as many lines as it got. That is checked, unless the
    object has a true attribute `keeps_line_ends`, which says that it never returns more.

    A class, factory or function with a true attribute `may_be_tried` says that it may be called
    for trial, once, where it is given to a server, a bridge or a connection: one object is made
    there, gets an empty chunk, then `eof()`, then `close()`. What that raises, and replies that are
    not bytes, are then told at the start instead of to the first peer.
    """

    def process(self, chunk: memoryview) -> Buffer | None:
        """Return the reply to `chunk`, or None for none.

        Thread: worker. `chunk`: writable, contiguous, format "B", at least one byte long, split
        where the network split it. Valid until this returns; it may be changed in place, and a
        part of it may be returned.
        """
        ...

    def eof(self) -> Buffer | None:
        """Return a last reply, or None, when the peer will send no more. Thread: worker."""
        ...


ProcessorFactory: TypeAlias = Callable[[], Processor]


class FunctionProcessor:
    """Processor that answers every chunk with what a function makes of its bytes."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[bytes], Buffer | None]) -> None:
        self._function = function

    def process(self, chunk: memoryview) -> Buffer | None:
        """Call the function with a copy of the chunk: a function may keep its argument."""
        return self._function(bytes(chunk))

    def eof(self) -> None:
        """Add nothing at the end of input."""


class _FunctionFactory:
    """Makes a `FunctionProcessor` for each connection."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[bytes], Buffer | None]) -> None:
        self._function = function

    def __call__(self) -> FunctionProcessor:
        return FunctionProcessor(self._function)

    def __repr__(self) -> str:
        return f"<factory for {self._function!r}>"


# What was checked: classes and factories, functions, and types of what factories made. So a
# connection does not pay for its processor's checks; added to by any thread, never iterated over.
_factories: "weakref.WeakSet[Any]" = weakref.WeakSet()
_functions: "weakref.WeakSet[Any]" = weakref.WeakSet()
_made: "weakref.WeakSet[type]" = weakref.WeakSet()


def as_factory(processor: Any) -> ProcessorFactory:
    """Return a factory of processors from what a user names as one.

    A class with `process` and `eof`, and anything callable without arguments, is a factory; a
    callable that needs an argument is a function from bytes to bytes. What can be seen not to work
    is refused; what may be tried (`Processor`) is tried, the first time. Thread: any.

    Raises:
        SettingsError: it is neither, or cannot work; says why, and what to give instead.
    """
    factory: ProcessorFactory = processor
    if type(processor) is _FunctionFactory or _is_in(_factories, processor):
        return factory
    if _is_in(_functions, processor):
        return _FunctionFactory(processor)
    if isinstance(processor, type):
        check_class(processor)
        is_function = False
    else:
        is_function = check_function(processor)
    if is_function:
        factory = _FunctionFactory(processor)
    if getattr(processor, "may_be_tried", False):
        _try(factory, processor)
    _note_in(_functions if is_function else _factories, processor)
    return factory


def _try(factory: ProcessorFactory, processor: object) -> None:
    """Make a processor and give it nothing to work on."""
    try:
        tried = make_processor(factory)
        try:
            as_reply(tried.process(memoryview(bytearray())), None, views_allowed=False)
            as_reply(tried.eof(), None, views_allowed=False)
        finally:
            close = getattr(tried, "close", None)
            if close is not None:
                close()
    except Exception as error:
        raise SettingsError(
            f"processor {processor!r} was tried with an empty chunk, as its may_be_tried allows, "
            f"and raised {error!r}"
        ) from error


def make_processor(factory: ProcessorFactory) -> Processor:
    """Make one processor. Thread: worker.

    Raises:
        ProcessorError: what came out has no `process` and `eof`, or has some that cannot work.
    """
    made: Any = factory()
    processor: Processor = made
    kind = type(made)
    if kind in _made:
        return processor
    if isinstance(made, type):  # it may have both methods, which would lack their object
        raise ProcessorError(
            f"factory {factory!r} returned {made!r}, a class and not an object of it; return "
            f"{made.__name__}(...)"
        )
    if not isinstance(made, Processor):
        lacks = " and ".join(f"{name}()" for name in ("process", "eof") if not hasattr(made, name))
        raise ProcessorError(
            f"factory {factory!r} returned an object of type {kind.__name__}, which lacks {lacks}"
            f"{_hint_at_factory(factory, made)}"
        )
    try:
        check_methods(kind)
    except SettingsError as error:
        raise ProcessorError(
            f"factory {factory!r} returned an object of type {kind.__name__}: {error}"
        ) from None
    if issubclass(kind, Processor):  # else its methods are those of one object
        _made.add(kind)
    return processor


def _hint_at_factory(factory: object, made: object) -> str:
    if inspect.iscoroutine(made):
        made.close()  # or Python warns that nobody awaited it
        return hint_at_bytes(made)
    if not takes_arguments(factory):
        return "; a factory returns an object with process(chunk) and eof()"
    return (
        "; it was called without arguments because it needs none, hence as a factory: to use it "
        "as a function from bytes to bytes, give lambda data: bytes(f(data)), or its argument no "
        "default" + hint_at_bytes(made)
    )


def _is_in(checked: "weakref.WeakSet[Any]", processor: object) -> bool:
    try:
        return processor in checked
    except TypeError:  # it has no hash
        return False


def _note_in(checked: "weakref.WeakSet[Any]", processor: object) -> None:
    try:
        checked.add(processor)
    except TypeError:  # neither hash nor weak references: it is checked each time
        pass


def as_reply(result: object, storage: object, *, views_allowed: bool) -> bytes | memoryview | None:
    """Return what may be kept until it is sent: bytes, a byte view into `storage`, or None.

    Thread: worker. `storage` is the memory that is not reused before the reply is sent; a view
    of anything else is copied, because its owner may change it.

    Raises:
        ProcessorError: `result` is not bytes-like.
    """
    if result is None or type(result) is bytes:
        return result
    try:
        view = memoryview(result)  # type: ignore[arg-type]  # the next line is for what is not
    except TypeError:
        hint = hint_at_bytes(result)
        if inspect.iscoroutine(result):
            result.close()  # or Python warns that nobody awaited it
        raise ProcessorError(
            f"a processor returned {type(result).__name__}; it must return bytes, bytearray, "
            f"memoryview or another contiguous buffer, or None{hint}"
        ) from None
    if views_allowed and view.obj is storage and view.c_contiguous:
        return byte_view(view)
    return view.tobytes()


def check_reply(reply_bytes: int, answered_bytes: int, max_reply_bytes: int) -> None:
    """Check a reply's length against `Limits.max_reply_bytes`. Thread: any.

    A reply that is no longer than what it answers is always allowed.

    Raises:
        ProcessorError: it is too long; the message has all three numbers.
    """
    if reply_bytes > max_reply_bytes and reply_bytes > answered_bytes:
        raise ProcessorError(
            f"a processor answered {answered_bytes} bytes with {reply_bytes}; max_reply_bytes is "
            f"{max_reply_bytes}: raise it, or answer with less"
        )
