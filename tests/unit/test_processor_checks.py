"""processor_checks: what cannot work is refused in words before it works."""

import abc
import functools
import hashlib
import zlib
from typing import Any

import pytest

from asyncrev import Server
from asyncrev.errors import ProcessorError, SettingsError
from asyncrev.processors import (
    Processor,
    as_factory,
    as_reply,
    make_processor,
)
from tests.duck_types import Half, Whole


def upper(data: bytes) -> bytes:
    """Answer in capitals."""
    return data.upper()


@pytest.mark.parametrize("processor", [Half, bytes, int])
def test_as_factory_refuses_classes_that_are_no_processors(processor: Any) -> None:
    """The message names the class and what would do."""
    with pytest.raises(SettingsError, match=r"is a class without process\(chunk\) and eof\(\)"):
        as_factory(processor)


@pytest.mark.parametrize("processor", [None, 3, b"reverse", Whole()])
def test_as_factory_refuses_what_cannot_be_called(processor: Any) -> None:
    """An instance is one of them."""
    with pytest.raises(SettingsError, match="is not callable"):
        as_factory(processor)


async def coroutine_function(data: bytes) -> bytes:
    """Is awaited by nobody."""
    return data


async def async_generator(data: bytes) -> Any:
    """Is iterated over by nobody."""
    yield data


def generator(data: bytes) -> Any:
    """Returns no bytes."""
    yield data


def two(left: bytes, right: bytes) -> bytes:
    """Needs one too many."""
    return left + right


def keyword(data: bytes, *, key: bytes) -> bytes:
    """Needs what nobody gives."""
    return data + key


def unwrapped(function: Any) -> Any:
    """Decorate without functools.wraps."""

    def decorated(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return decorated


def text(data: bytes) -> str:
    """Return what it says."""
    return data.decode()


def number(data: bytes) -> "int":
    """Return what it says, in another notation."""
    return len(data)


class CallableCoroutine:
    """An object that is called like a coroutine function."""

    async def __call__(self, data: bytes) -> bytes:
        """Be awaited by nobody."""
        return data


def having(**methods: Any) -> type:
    """Return a class like Whole, with other methods."""
    return type("Made", (Whole,), methods)


async def _async_method(self: Any, *args: Any) -> None: ...


def _generator_method(self: Any, *args: Any) -> Any:
    yield b""


def _text_method(self: Any, chunk: memoryview) -> str:
    return ""


def _annotated_method(self: Any, chunk: memoryview) -> memoryview | bytes:
    return chunk


class Indexed(Whole):
    """Needs an argument."""

    def __init__(self, index: int, *, key: str = "") -> None: ...


class Abstract(Whole, abc.ABC):
    """Cannot be made."""

    @abc.abstractmethod
    def process(self, chunk: memoryview) -> None: ...


ASYNC = "is called on a worker thread, without an event loop"
CANNOT_WORK = {
    "async generator": (async_generator, ASYNC),
    "generator": (generator, r"a generator function, .*join"),
    "two arguments": (two, r"needs 2 arguments \(left, right\).* functools.partial"),
    "method of a class": (Whole.process, r"needs 2 arguments \(self, chunk\)"),
    "keyword": (keyword, "needs the keyword arguments key"),
    "no wraps": (unwrapped(upper), r"without functools\.wraps"),
    "text": (text, r"is annotated to return str; .*encode\(\)"),
    "number": (number, r"is annotated to return int; .*%d"),
    "digest": (hashlib.sha256, r"lambda data: hashlib\.sha256\(data\)\.digest\(\)"),
    "digest class": (hashlib.blake2b, r"lambda data: hashlib\.blake2b\(data\)\.digest\(\)"),
    "builtin factory": (zlib.compressobj, r"returns an object without process\(chunk\) and eof"),
    "bytes": (bytes, "for an echo use lambda data: data"),
    "object": (Whole(), "all connections would share; give its class, Whole, or a factory"),
    "needs an index": (Indexed, r"needs arguments \(index\).*lambda: Indexed\(\.\.\.\)"),
    "partial lacks one": (functools.partial(Indexed, key=""), r"still needs arguments \(index\)"),
    "abstract": (Abstract, r"is abstract \(process\)"),
    "protocol": (Processor, "is abstract"),
    "no chunk": (having(process=lambda self: None), r"write def process\(self, chunk\)"),
    "eof of more": (having(eof=lambda self, x: None), r"write def eof\(self\)"),
    "close of more": (having(close=lambda self, x: None), r"write def close\(self\)"),
    "lines of none": (having(process_lines=lambda self: b""), r"def process_lines\(self, lines\)"),
    "prefixed of one": (
        having(process_prefixed=lambda self, frames: b""),
        r"write def process_prefixed\(self, frames, runs, prefix_bytes\)",
    ),
    "static of two": (having(process=staticmethod(two)), "write def process"),
    "async eof": (having(eof=_async_method), "eof of processor .*" + ASYNC),
    "async close": (having(close=_async_method), "close of processor .*" + ASYNC),
    "generating process": (having(process=_generator_method), "a generator function"),
    "text process": (having(process=_text_method), "process of processor .* to return str"),
    "async init": (having(__init__=_async_method), "__init__ of processor .*" + ASYNC),
    "generating init": (having(__init__=_generator_method), "__init__ of .* a generator function"),
    "close is none": (having(close=3), "is 3, which cannot be called"),
}


@pytest.mark.parametrize("name", CANNOT_WORK)
def test_what_cannot_work_is_refused_at_the_start(name: str) -> None:
    """In words that name the cause and what to do; nothing is called for that."""
    processor, cause = CANNOT_WORK[name]
    with pytest.raises(SettingsError, match=cause):
        as_factory(processor)
    with pytest.raises(SettingsError, match=cause):
        Server(processor)


class ByMeta(type):
    """Makes objects in its own way."""

    def __call__(cls, *args: Any) -> Any:
        return super().__call__()


class Slotted:
    """Has its methods in slots, one set for each object."""

    __slots__ = ("close", "eof", "process")

    def __init__(self) -> None:
        self.process = bytes
        self.eof = self.close = lambda: None


CAN_WORK = {
    "static": having(process=staticmethod(lambda chunk: None)),
    "class method": having(eof=classmethod(lambda cls: None)),
    "any arguments": having(process=lambda *args: None, eof=lambda *args, **kwargs: None),
    "defaults": having(process=lambda self, chunk, more=1: None),
    "wrapped": having(process=functools.wraps(Whole.process)(unwrapped(Whole.process))),
    "no close": having(close=None),
    "slots": Slotted,
    "meta": ByMeta("Meta", (Whole,), {}),
    "constructor of any": having(__init__=lambda self, *args, **kwargs: None),
    "constructor with defaults": having(__init__=lambda self, index=1: None),
    "partial": functools.partial(Indexed, 1),
    "method of an object": Whole().process,
    "wrapped function": functools.wraps(upper)(unwrapped(upper)),
    "annotated": having(process=_annotated_method),
}


@pytest.mark.parametrize("name", CAN_WORK)
def test_what_can_work_is_taken(name: str) -> None:
    """However it is written; a second look takes it, too."""
    processor = CAN_WORK[name]
    for _ in range(2):
        made = make_processor(as_factory(processor))
        made.process(memoryview(bytearray(b"abc")))
        made.eof()


def test_what_a_factory_makes_is_checked_when_it_is_made() -> None:
    """Only then it can be seen; the message is the same."""
    with pytest.raises(ProcessorError, match=r"type Made: process of processor .*" + ASYNC):
        make_processor(as_factory(lambda: having(process=_async_method)()))
    with pytest.raises(ProcessorError, match=r"type coroutine, .*" + ASYNC):
        make_processor(as_factory(lambda: coroutine_function(b"")))  # and nothing is left to await
    with pytest.raises(ProcessorError, match=r"taken|called without arguments"):
        make_processor(as_factory(lambda data=b"": data))
    with pytest.raises(
        ProcessorError, match=r"a class and not an object of it; return Whole\(\.\.\."
    ):
        make_processor(as_factory(lambda: Whole))
    with pytest.raises(ProcessorError) as caught:
        make_processor(as_factory(lambda: None))
    assert str(caught.value).endswith(
        "returned an object of type NoneType, which lacks process() and eof(); a factory returns "
        "an object with process(chunk) and eof()"
    )


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (lambda: "text", r"\.encode\(\)"),
        (lambda: 3, "%d"),
        (lambda: 3.5, "%g"),
        (lambda: hashlib.sha256(b""), r"call its digest\(\)"),
        (lambda: generator(b""), "join what it yields"),
        (lambda: coroutine_function(b""), ASYNC),
        (lambda: async_generator(b""), ASYNC),
    ],
)
def test_as_reply_tells_how_to_mend_what_is_nearly_right(make: Any, hint: str) -> None:
    """And leaves no coroutine behind that was never awaited."""
    with pytest.raises(ProcessorError, match=f"or None; .*{hint}"):
        as_reply(make(), None, views_allowed=True)
