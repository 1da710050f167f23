"""later_processors: what is asynchronous is recognised, and what cannot be called is refused."""

import functools
from typing import Any

import pytest

from asyncrev import Server
from asyncrev.errors import LocalError, SettingsError
from asyncrev.later_processors import LaterFactory, coroutine_factory
from asyncrev.work.reverse import Reverse


async def answer(data: bytes) -> bytes:
    return data


async def answer_with(key: bytes, data: bytes) -> bytes:
    return key + data


class Answers:
    replies_fit = True

    async def process(self, data: bytes) -> bytes:
        return data


class Full(Answers):
    replies_fit = False

    def __init__(self, key: bytes = b"") -> None:
        self.key = key

    async def connected(self, info: Any) -> None: ...

    def eof(self) -> None: ...

    async def close(self) -> None: ...


class Called:
    async def __call__(self, data: bytes) -> bytes:
        return data


class Needs(Answers):
    def __init__(self, session: object) -> None:
        self.session = session


@pytest.mark.parametrize(
    "processor", [answer, functools.partial(answer_with, b"k"), Called(), Called().__call__]
)
def test_functions_are_recognised(processor: Any) -> None:
    """Whatever way they are given."""
    found = coroutine_factory(processor)
    assert found is not None
    assert found.function is processor
    assert found.make is None
    assert (found.speaks_first, found.calls_eof, found.replies_fit) == (False, False, False)
    assert coroutine_factory(found) is found
    Server(processor)


def test_classes_are_recognised_with_their_methods() -> None:
    """Those that they have are called."""
    small, full = coroutine_factory(Answers), coroutine_factory(functools.partial(Full, b"k"))
    bound = coroutine_factory(functools.partial(Needs, object()))
    assert small is not None
    assert full is not None
    assert bound is not None
    assert (small.speaks_first, small.calls_eof, small.replies_fit) == (False, False, True)
    assert (full.speaks_first, full.calls_eof, full.replies_fit) == (True, True, False)
    assert bound.make is not None


@pytest.mark.parametrize("processor", [Reverse, bytes, lambda data: data, Reverse(), 3, None])
def test_others_are_not_asynchronous(processor: Any) -> None:
    """They are checked elsewhere."""
    assert coroutine_factory(processor) is None


class NoFrame:
    async def process(self) -> bytes:
        return b""


class EofOfOne(Answers):
    async def eof(self, more: int) -> None: ...


class NoMethod(Answers):
    close = 3


async def two(left: bytes, right: bytes) -> bytes:
    return left + right


async def keyword(data: bytes, *, key: bytes) -> bytes:
    return data


@pytest.mark.parametrize(
    ("processor", "words"),
    [
        (two, "gets one argument, the bytes"),
        (keyword, "missing a required .*argument: 'key'"),
        (Needs, r"functools\.partial\(Needs, \.\.\.\)"),
        (NoFrame, r"NoFrame\.process gets 1"),
        (EofOfOne, r"EofOfOne\.eof gets 0"),
        (NoMethod, r"NoMethod\.close .* is no method"),
        (Answers(), "all connections would share; give its class, Answers"),
    ],
)
def test_what_cannot_be_called_is_refused(processor: Any, words: str) -> None:
    """At the start, with the reason."""
    for make in (coroutine_factory, Server):
        with pytest.raises(SettingsError, match=words):
            make(processor)


def test_nothing_of_it_is_called_like_a_factory() -> None:
    """By submit(), say."""
    factory = LaterFactory(answer, replies_fit=False)
    with pytest.raises(LocalError, match="for connections, not for submit"):
        factory()
    assert "answer" in repr(factory)
    tapped = factory.tapped(str)
    assert (factory.wrap, tapped.wrap, tapped.named) == (None, str, answer)
