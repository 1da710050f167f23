"""What a processor is, how plain functions become one, and what may come out of it."""

import inspect
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, runtime_checkable

from asyncrev.buffers import byte_view
from asyncrev.errors import ProcessorError, SettingsError

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
    """

    def process(self, chunk: memoryview) -> Buffer | None:
        """Return the reply to `chunk`, or None for none.

        Thread: worker. `chunk`: writable, contiguous, format "B", at least one byte long, cut
        where the network cut it. Valid until this returns; it may be changed in place, and a
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


def as_factory(processor: Any) -> ProcessorFactory:
    """Return a factory of processors from what a user names as one.

    A class with `process` and `eof`, and anything callable without arguments, is a factory; a
    callable that needs an argument is a function from bytes to bytes.

    Raises:
        SettingsError: it is neither.
    """
    if isinstance(processor, type):
        if issubclass(processor, Processor):
            return processor
        raise SettingsError(
            f"processor {processor!r} is a class without process(chunk) and eof(); "
            "give such a class, a factory of such objects, or a function from bytes to bytes"
        )
    if not callable(processor):
        raise SettingsError(
            f"processor {processor!r} is not callable; give a class with process(chunk) and "
            "eof(), a factory of such objects, or a function from bytes to bytes"
        )
    if _needs_an_argument(processor):
        return lambda: FunctionProcessor(processor)
    return processor  # type: ignore[no-any-return]  # a callable, and only calling it tells more


def make_processor(factory: ProcessorFactory) -> Processor:
    """Make one processor. Thread: worker.

    Raises:
        ProcessorError: what came out has no `process` and `eof`.
    """
    processor = factory()
    if not isinstance(processor, Processor):
        raise ProcessorError(
            f"factory {factory!r} made a {type(processor).__name__}, which has not both "
            "process(chunk) and eof()"
        )
    return processor


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
        raise ProcessorError(
            f"a processor returned {type(result).__name__}; it must return bytes, bytearray, "
            "memoryview or another contiguous buffer, or None"
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


def _needs_an_argument(function: Callable[..., object]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some built-in functions tell nothing; none is a factory
        return True
    return any(
        parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        for parameter in parameters
    )
