"""processors: what becomes a factory, and what may come out of a processor."""

import abc
import array
import functools
import gc
import hashlib
import mmap
import weakref
import zlib
from typing import Any

import numpy as np
import pytest

from asyncrev import Server
from asyncrev.errors import ProcessorError, SettingsError
from asyncrev.processors import (
    FunctionProcessor,
    Processor,
    as_factory,
    as_reply,
    make_processor,
)
from asyncrev.work.reverse import Reverse


class Whole:
    """Has both methods, and no base."""

    def process(self, chunk: memoryview) -> None:
        """Answer nothing."""

    def eof(self) -> None:
        """Answer nothing."""


class Half:
    """Has one of the two methods."""

    def process(self, chunk: memoryview) -> None:
        """Answer nothing."""


class CallableObject:
    """An object that is called with bytes."""

    def __call__(self, data: bytes) -> bytes:
        """Answer in capitals."""
        return data.upper()


def upper(data: bytes) -> bytes:
    """Answer in capitals."""
    return data.upper()


# -- as_factory ----------------------------------------------------------------------------------


@pytest.mark.parametrize("factory", [Whole, Reverse, lambda: Whole(), functools.partial(Whole)])
def test_as_factory_takes_factories_as_they_are(factory: Any) -> None:
    """A class with both methods, and what is called without arguments."""
    assert as_factory(factory) is factory
    assert isinstance(make_processor(factory), Processor)


@pytest.mark.parametrize(
    "function",
    [
        upper,
        lambda data: data.upper(),
        lambda data, extra=None: data.upper(),
        functools.partial(lambda extra, data: data.upper(), None),
        CallableObject(),
        bytes.upper,
    ],
)
def test_as_factory_wraps_functions_one_each_time(function: Any) -> None:
    """What needs an argument is a function from bytes to bytes."""
    factory = as_factory(function)
    first, second = make_processor(factory), make_processor(factory)
    assert isinstance(first, FunctionProcessor)
    assert first is not second
    assert first.process(memoryview(bytearray(b"abc"))) == b"ABC"
    assert first.eof() is None


def test_as_factory_takes_builtins_for_functions() -> None:
    """With a signature or without one."""
    data = memoryview(bytearray(b"abc"))
    assert make_processor(as_factory(zlib.compress)).process(data) == zlib.compress(b"abc")


def test_as_factory_takes_what_tells_no_signature_for_a_function() -> None:
    """No built-in function makes processors."""

    def liar(data: bytes) -> bytes:
        return data

    liar.__signature__ = "none"  # type: ignore[attr-defined]
    assert make_processor(as_factory(liar)).process(memoryview(b"abc")) == b"abc"


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


@pytest.mark.parametrize("factory", [Half, lambda: None, hashlib.sha256, lambda data=b"": data])
def test_make_processor_refuses_what_a_factory_made(factory: Any) -> None:
    """Only calling it tells; the message names the type that came."""
    with pytest.raises(ProcessorError, match=rf"type {type(factory()).__name__}, which lacks"):
        make_processor(factory)


# -- what cannot work ----------------------------------------------------------------------------


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


class Indexed(Whole):
    """Needs an argument."""

    def __init__(self, index: int, *, key: str = "") -> None: ...


class Abstract(Whole, abc.ABC):
    """Cannot be made."""

    @abc.abstractmethod
    def process(self, chunk: memoryview) -> None: ...


ASYNC = "asynchronous processors are not supported yet"

CANNOT_WORK = {
    "coroutine function": (coroutine_function, ASYNC),
    "partial of one": (functools.partial(coroutine_function), ASYNC),
    "object like one": (CallableCoroutine(), ASYNC),
    "async generator": (async_generator, ASYNC),
    "generator": (generator, r"a generator function, .*join"),
    "two arguments": (two, r"needs 2 arguments \(left, right\).* functools.partial"),
    "method of a class": (Whole.process, r"needs 2 arguments \(self, chunk\)"),
    "keyword": (keyword, "needs the keyword arguments key"),
    "no wraps": (unwrapped(upper), r"without functools\.wraps"),
    "text": (text, r"returns str, as it says; .*encode\(\)"),
    "number": (number, r"returns int, as it says; .*%d"),
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
    "async process": (having(process=_async_method), "process of processor .*" + ASYNC),
    "async eof": (having(eof=_async_method), "eof of processor .*" + ASYNC),
    "async close": (having(close=_async_method), "close of processor .*" + ASYNC),
    "generating process": (having(process=_generator_method), "a generator function"),
    "text process": (having(process=_text_method), "process of processor .* returns str"),
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
    "annotated": having(process=Reverse.process),
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


def test_what_can_change_nothing_is_remembered_of_no_class() -> None:
    """What was checked lives no longer for that."""
    cls = having()
    make_processor(as_factory(cls))
    gone = weakref.ref(cls)
    del cls
    gc.collect()
    assert gone() is None


# -- what may be tried ---------------------------------------------------------------------------


class Tried(Whole):
    """Says that it may be tried, and notes what is done to it."""

    may_be_tried = True

    def __init__(self) -> None:
        self.calls: list[Any] = []
        Tried.last = self  # type: ignore[attr-defined]

    def process(self, chunk: memoryview) -> Any:
        """Note the chunk."""
        self.calls.append(bytes(chunk))

    def eof(self) -> Any:
        """Note it."""
        self.calls.append("eof")

    def close(self) -> None:
        """Note it."""
        self.calls.append("close")


def test_processor_that_may_be_tried_is_tried_once() -> None:
    """With an empty chunk, and to its end; not again for each connection."""
    as_factory(Tried)
    tried = Tried.last  # type: ignore[attr-defined]
    assert tried.calls == [b"", "eof", "close"]
    as_factory(Tried)
    assert Tried.last is tried  # type: ignore[attr-defined]


def test_processor_that_does_not_say_so_is_not_called() -> None:
    """It may write to files, or count its objects."""
    made: list[Any] = []
    as_factory(having(__init__=lambda self: made.append(self)))
    as_factory(lambda data: made.append(data))
    assert made == []


@pytest.mark.parametrize(
    ("processor", "cause"),
    [
        (having(may_be_tried=True, process=lambda self, chunk: "text"), r"returned str;.*encode"),
        (having(may_be_tried=True, eof=lambda self: 1), r"returned int;.*%d"),
        (having(may_be_tried=True, __init__=lambda self: 1 / 0), "ZeroDivisionError"),
        (having(may_be_tried=True, close=lambda self: 1 / 0), "ZeroDivisionError"),
    ],
)
def test_processor_that_fails_when_tried_is_refused(processor: Any, cause: str) -> None:
    """Before the first peer sees it; again if it is given again."""
    for _ in range(2):
        with pytest.raises(SettingsError, match=cause):
            as_factory(processor)


def test_function_that_may_be_tried_is_tried() -> None:
    """An attribute of the function."""

    def wrong(data: bytes) -> Any:
        return data.decode()

    as_factory(wrong)
    wrong.may_be_tried = True  # type: ignore[attr-defined]
    as_factory(wrong)  # it was looked at before

    def wrong_from_the_start(data: bytes) -> Any:
        return data.decode()

    wrong_from_the_start.may_be_tried = True  # type: ignore[attr-defined]
    with pytest.raises(SettingsError, match="returned str"):
        as_factory(wrong_from_the_start)


def test_function_gets_a_copy_that_it_may_keep() -> None:
    """The slot is used again; the function's bytes stay."""
    kept: list[bytes] = []
    memory = bytearray(b"abc")
    FunctionProcessor(lambda data: kept.append(data)).process(memoryview(memory))
    memory[:] = b"???"
    assert kept == [b"abc"]


# -- as_reply ------------------------------------------------------------------------------------


@pytest.fixture
def storage() -> Any:
    """Memory as the ring has it."""
    return mmap.mmap(-1, 16)


def chunk_of(storage: Any, data: bytes) -> memoryview:
    """Return a slot of `storage` that holds `data`."""
    slot = memoryview(storage)[4 : 4 + len(data)]
    slot[:] = data
    return slot


def test_as_reply_passes_none_and_bytes_through(storage: Any) -> None:
    """Nothing can change them."""
    reply = b"reply"
    assert as_reply(reply, storage, views_allowed=True) is reply
    assert as_reply(None, storage, views_allowed=True) is None


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        (lambda chunk: chunk, b"abcdefgh"),
        (lambda chunk: chunk[2:5], b"cde"),
        (lambda chunk: chunk[:0], b""),
        (lambda chunk: chunk.cast("I"), b"abcdefgh"),
        (lambda chunk: chunk.cast("b"), b"abcdefgh"),
        (lambda chunk: chunk.cast("B", (2, 4)), b"abcdefgh"),
        (lambda chunk: chunk.toreadonly(), b"abcdefgh"),
    ],
)
def test_as_reply_keeps_views_of_the_ring_as_byte_views(
    storage: Any, cut: Any, expected: bytes
) -> None:
    """No copy: a change of the slot shows. Without leave to keep views it is copied."""
    chunk = chunk_of(storage, b"abcdefgh")
    view = as_reply(cut(chunk), storage, views_allowed=True)
    assert isinstance(view, memoryview)
    assert (view.format, view.ndim, len(view)) == ("B", 1, len(expected))
    copy = as_reply(cut(chunk), storage, views_allowed=False)
    assert type(copy) is bytes
    chunk[:] = b"????????"
    assert view == b"?" * len(expected)
    assert copy == expected


@pytest.mark.parametrize("views_allowed", [False, True])
@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda chunk: chunk[::-1], b"hgfedcba"),
        (lambda chunk: chunk[::3], b"adg"),
        (lambda chunk: np.frombuffer(chunk, "u1"), b"abcdefgh"),
        (lambda chunk: np.frombuffer(chunk, "u1")[::-1], b"hgfedcba"),
        (lambda chunk: np.frombuffer(chunk, ">u4"), b"abcdefgh"),
        (lambda chunk: bytearray(chunk), b"abcdefgh"),
        (lambda chunk: memoryview(bytearray(chunk)), b"abcdefgh"),
        (lambda chunk: memoryview(bytes(chunk)), b"abcdefgh"),
        (lambda chunk: memoryview(bytes(chunk)).cast("H"), b"abcdefgh"),
        (lambda chunk: array.array("B", chunk), b"abcdefgh"),
        (lambda chunk: type("Sub", (bytes,), {})(chunk), b"abcdefgh"),
    ],
)
def test_as_reply_copies_everything_else(
    storage: Any, make: Any, expected: bytes, views_allowed: bool
) -> None:
    """Its owner may change it, or it does not lie in one piece."""
    chunk = chunk_of(storage, b"abcdefgh")
    result = make(chunk)
    reply = as_reply(result, storage, views_allowed=views_allowed)
    assert type(reply) is bytes
    if isinstance(result, bytearray):
        result[:] = b"????????"
    chunk[:] = b"????????"
    assert reply == expected


@pytest.mark.parametrize("result", ["text", 3, 3.5, [1, 2], object(), iter(b"abc"), True])
def test_as_reply_refuses_what_is_not_bytes(storage: Any, result: Any) -> None:
    """The message names the type; an integer is not that many zeros."""
    with pytest.raises(ProcessorError, match=f"returned {type(result).__name__}; it must return"):
        as_reply(result, storage, views_allowed=True)


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
