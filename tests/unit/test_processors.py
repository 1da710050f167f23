"""processors: what becomes a factory, and what may come out of a processor."""

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

from asyncrev.connection_info import ConnectionInfo
from asyncrev.errors import ProcessorError, SettingsError
from asyncrev.processors import (
    FunctionProcessor,
    Processor,
    as_factory,
    as_reply,
    check_many_method,
    declares,
    make_processor,
    speaks_first,
)
from asyncrev.work.reverse import Reverse
from tests.duck_types import Half, Whole


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


@pytest.mark.parametrize("factory", [Half, lambda: None, hashlib.sha256, lambda data=b"": data])
def test_make_processor_refuses_what_a_factory_made(factory: Any) -> None:
    """Only calling it tells; the message names the type that came."""
    with pytest.raises(ProcessorError, match=rf"type {type(factory()).__name__}, which lacks"):
        make_processor(factory)


def having(**methods: Any) -> type:
    """Return a class like Whole, with other methods."""
    return type("Made", (Whole,), methods)


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


def test_method_for_many_frames_is_checked_with_the_arguments_of_its_grammar() -> None:
    """One that exists and takes others is refused; without arguments nothing is checked."""

    class Many(Whole):
        def process_pairs(self, frames: memoryview, runs: Any) -> memoryview:
            return frames

    for _ in range(2):
        check_many_method(Many(), "process_pairs", "frames, runs")
        check_many_method(Many(), "process_others", "frames")
        check_many_method(Many(), "process_pairs", "")
        with pytest.raises(ProcessorError, match=r"write def process_pairs\(self, frames\)"):
            check_many_method(Whole.__new__(type("Other", (Many,), {})), "process_pairs", "frames")


class Told(Reverse):
    """Has the method."""

    def connected(self, info: ConnectionInfo) -> None:
        """Do nothing."""


def factory_that(**attributes: bool) -> Any:
    """Return a factory with attributes."""

    def make() -> Told:
        return Told()

    for name, value in attributes.items():
        setattr(make, name, value)
    return make


@pytest.mark.parametrize(
    ("factory", "first"),
    [
        (Told, True),
        (functools.partial(Told), True),
        (type("Quiet", (Told,), {"speaks_first": False}), False),
        (Reverse, False),
        (type("Loud", (Reverse,), {"speaks_first": True}), True),
        (functools.partial(Reverse), False),
        (functools.partial(type("Quiet", (Told,), {"speaks_first": False})), False),
        (functools.partial(type("Loud", (Reverse,), {"speaks_first": True})), True),
        (factory_that(), False),
        (factory_that(speaks_first=True), True),
        (factory_that(speaks_first=False), False),
        (as_factory(bytes.upper), False),
        (as_factory(Told), True),
    ],
)
def test_class_that_is_told_of_its_peer_is_told_at_once(factory: Any, first: bool) -> None:
    """Unless it says otherwise; others say so."""
    assert speaks_first(factory) is first


@pytest.mark.parametrize(
    ("method", "text"),
    [
        (lambda self: None, r"called as connected\(info\)"),
        (lambda self, info, more: None, r"write def connected\(self, info\)"),
        ("hello", "cannot be called"),
    ],
)
def test_connected_that_cannot_be_called_is_refused_at_the_start(method: Any, text: str) -> None:
    """Like the other methods."""
    with pytest.raises(SettingsError, match=text):
        as_factory(type("Own", (Reverse,), {"connected": method}))


async def coroutine(self: object, info: ConnectionInfo) -> None:
    """Cannot be called on a worker."""


def test_connected_that_is_a_coroutine_function_is_refused_at_the_start() -> None:
    """Like the other methods."""
    with pytest.raises(SettingsError, match="coroutine function"):
        as_factory(type("Own", (Reverse,), {"connected": coroutine}))


def test_what_is_behind_a_partial_declares_for_it() -> None:
    """A partial may say otherwise."""
    loud = type("Loud", (Reverse,), {"may_start_tls": True})
    assert declares(loud, "may_start_tls")
    assert declares(functools.partial(loud), "may_start_tls")
    assert not declares(functools.partial(Reverse), "may_start_tls")
    partial = functools.partial(loud)
    partial.may_start_tls = False  # type: ignore[attr-defined]
    assert not declares(partial, "may_start_tls")
