"""Processors: their interface, the conversion of plain functions, and checks of results."""

import inspect
import weakref
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, runtime_checkable

from asyncrev.buffers import byte_view
from asyncrev.connection_info import ConnectionInfo
from asyncrev.errors import ProcessorError, SettingsError
from asyncrev.processor_checks import (
    check_class,
    check_function,
    check_method,
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
    "check_many_method",
    "check_reply",
    "declares",
    "make_processor",
    "speaks_first",
    "tell_connected",
]

# The annotation for "bytes-like"; at run time anything with the buffer protocol works.
Buffer: TypeAlias = bytes | bytearray | memoryview

# What goes back to the loop: one or more pieces of memory that do not change before they are sent.
Reply: TypeAlias = bytes | memoryview | tuple[bytes | memoryview, ...]


@runtime_checkable
class Processor(Protocol):
    """The work on one connection's bytes: one instance per connection, on the worker thread only.

    If a processor has a method `close()`, it is called once, when the connection or the bridge has
    gone. An exception closes only its connection, and is passed to the loop's exception handler.

    If a processor has a method `connected(info)`, it is called with a `ConnectionInfo` before any
    other: over TLS when the handshake is complete, and again after an upgrade by `StartTls`. What
    it returns goes to the peer first, with framing as a frame. It may raise
    `asyncrev.errors.PeerRefused` with the reason in words, as `process` may, too: that closes the
    connection with a line in the log. If `processor` is a class with this method, or anything with
    a true attribute `speaks_first`, it is called at once; otherwise, and with a false one, when the
    first input comes. A submission has no connection, so there is no call.

    A true attribute `replies_fit` declares that no reply is longer than its input, so that a
    server's memory bound needs no term for longer replies. This is not checked.

    With framing, a chunk is the payload of one frame, which may be empty, and a reply becomes a
    frame. A processor may then also have a method that takes many whole frames at once, as they
    were received: `process_lines(lines)` or `process_prefixed(frames, runs, prefix_bytes)`; see
    `Reverse`. With lines no reply may contain a line end, because the peer would take it for two
    replies and misattribute all later ones. `process_lines` may return at most as many lines as it
    got. This is checked unless the object has a true attribute `keeps_line_ends`, which declares
    that it never returns more.

    A true attribute `may_be_tried` of a class, factory or function permits one trial when it is
    passed to a server, a bridge or a connection: one object is made, and gets an empty chunk, then
    `eof()`, then `close()`. Exceptions and replies that are not bytes are then reported at the
    start instead of at the first connection.
    """

    def process(self, chunk: memoryview) -> Buffer | None:
        """Return the reply to `chunk`, or None for none; or a `StartTls`.

        Thread: worker. `chunk`: writable, contiguous, format "B", at least one byte long, split
        wherever the network splits. Valid until this returns; it may be changed in place, and a
        part of it may be returned.
        """
        ...

    def eof(self) -> Buffer | None:
        """Return a last reply, or None, at the end of the peer's input. Thread: worker."""
        ...


ProcessorFactory: TypeAlias = Callable[[], Processor]


class FunctionProcessor:
    """Processor that answers every chunk with a function's result for its bytes.

    Attributes:
        function: that function. Never written again.
    """

    __slots__ = ("function",)

    def __init__(self, function: Callable[[bytes], Buffer | None]) -> None:
        self.function = function

    def process(self, chunk: memoryview) -> Buffer | None:
        """Call the function with a copy of the chunk, because it may keep its argument."""
        return self.function(bytes(chunk))

    def eof(self) -> None:
        """Add nothing at the end of input."""


class _FunctionFactory:
    """Makes a `FunctionProcessor` for each connection."""

    __slots__ = ("_function", "may_start_tls")

    def __init__(self, function: Callable[[bytes], Buffer | None]) -> None:
        self._function = function
        self.may_start_tls = declares(function, "may_start_tls")

    def __call__(self) -> FunctionProcessor:
        return FunctionProcessor(self._function)

    def __repr__(self) -> str:
        return f"<factory for {self._function!r}>"


# What was checked: classes and factories, functions, and the types of objects that factories made,
# so that connections need not repeat the checks. Any thread adds to them; they are never iterated.
_factories: "weakref.WeakSet[Any]" = weakref.WeakSet()
_functions: "weakref.WeakSet[Any]" = weakref.WeakSet()
_made: "weakref.WeakSet[type]" = weakref.WeakSet()
_many_checked: "weakref.WeakKeyDictionary[type, set[str]]" = weakref.WeakKeyDictionary()


def as_factory(processor: Any) -> ProcessorFactory:
    """Return a factory of processors for a class, a factory or a function.

    A class with `process` and `eof`, and anything callable without arguments, is a factory; a
    callable that needs an argument is a function from bytes to bytes. An object that evidently
    cannot work is refused; one that may be tried (`Processor`) is tried at its first use.
    Thread: any.

    Raises:
        SettingsError: it is neither, or cannot work; the message has the reason and what to use
            instead.
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
    if declares(processor, "may_be_tried"):
        _try(factory, processor)
    _note_in(_functions if is_function else _factories, processor)
    return factory


def _try(factory: ProcessorFactory, processor: object) -> None:
    """Make a processor and call it with an empty chunk."""
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
        ProcessorError: the object has no `process` and `eof`, or they cannot work.
    """
    made: Any = factory()
    processor: Processor = made
    kind = type(made)
    if kind in _made:
        return processor
    if isinstance(made, type):  # both methods, if it has them, would lack `self`
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
    if issubclass(kind, Processor):  # otherwise its methods may differ per object
        _made.add(kind)
    return processor


def declares(processor: Any, name: str) -> bool:
    """Return whether a class, factory or function has a true attribute; also behind a partial.

    `name`: such as "replies_fit"; see `Processor`. Thread: any.
    """
    behind = getattr(processor, "func", processor)  # of a functools.partial
    return bool(getattr(processor, name, getattr(behind, name, False)))


def speaks_first(factory: Any) -> bool:
    """Return whether its processors are to be told of their peer before there is input."""
    behind = getattr(factory, "func", factory)  # of a functools.partial
    if hasattr(factory, "speaks_first") or hasattr(behind, "speaks_first"):
        return declares(factory, "speaks_first")
    return isinstance(behind, type) and getattr(behind, "connected", None) is not None


def tell_connected(processor: Any, info: ConnectionInfo) -> Buffer | None:
    """Call the processor's `connected`, if it has one. Raises what that raises. Thread: its own."""
    connected = getattr(processor, "connected", None)
    said: Buffer | None = None if connected is None else connected(info)
    return said


def check_many_method(processor: Processor, name: str, arguments: str) -> None:
    """Check the method for many frames that a grammar names, once per type. Thread: any.

    `name`, `arguments`: `Grammar.method_name` and `Grammar.method_arguments`.

    Raises:
        ProcessorError: the method exists, and cannot be called with these arguments.
    """
    kind = type(processor)
    if not arguments or name in _many_checked.get(kind, ()):
        return
    try:
        check_method(kind, name, arguments)
    except SettingsError as error:
        raise ProcessorError(str(error)) from None
    _many_checked.setdefault(kind, set()).add(name)


def _hint_at_factory(factory: object, made: object) -> str:
    if inspect.iscoroutine(made):
        made.close()  # so that Python does not warn that it was never awaited
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
    except TypeError:  # it is not hashable
        return False


def _note_in(checked: "weakref.WeakSet[Any]", processor: object) -> None:
    try:
        checked.add(processor)
    except TypeError:  # no hash or no weak references: it is checked each time
        pass


def as_reply(result: object, storage: object, *, views_allowed: bool) -> bytes | memoryview | None:
    """Return a reply that can be kept until it is sent: bytes, a byte view of `storage`, or None.

    Thread: worker. `storage` is the memory that is not reused before the reply is sent. A view of
    other memory is copied, because its owner may change it.

    Raises:
        ProcessorError: `result` is not bytes-like.
    """
    if result is None or type(result) is bytes:
        return result
    try:
        view = memoryview(result)  # type: ignore[arg-type]  # TypeError is handled
    except TypeError:
        hint = hint_at_bytes(result)
        if inspect.iscoroutine(result):
            result.close()  # so that Python does not warn that it was never awaited
        raise ProcessorError(
            f"a processor returned {type(result).__name__}; it must return bytes, bytearray, "
            f"memoryview or another contiguous buffer, or None{hint}"
        ) from None
    if views_allowed and view.obj is storage and view.c_contiguous:
        return byte_view(view)
    return view.tobytes()


def check_reply(reply_bytes: int, answered_bytes: int, max_reply_bytes: int) -> None:
    """Check a reply's length against `Limits.max_reply_bytes`. Thread: any.

    A reply that is no longer than its input is always allowed.

    Raises:
        ProcessorError: it is too long; the message has all three numbers.
    """
    if reply_bytes > max_reply_bytes and reply_bytes > answered_bytes:
        raise ProcessorError(
            f"a processor answered {answered_bytes} bytes with {reply_bytes}; max_reply_bytes is "
            f"{max_reply_bytes}: raise it, or answer with less"
        )
