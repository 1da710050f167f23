"""driven: asynchronous processors are held against the rules of all, and one of their own."""

import asyncio
from typing import Any

import pytest

from asyncrev import current_connection_info
from asyncrev.errors import LocalError
from asyncrev.testing import check_processor


async def upper(data: bytes) -> bytes:
    await asyncio.sleep(0)
    return data.upper()


class Session:
    """Keeps its rules."""

    def __init__(self) -> None:
        self.peer: Any = None

    async def connected(self, info: Any) -> bytes:
        self.peer = info.peer_address
        return b"hello"

    async def process(self, data: bytes) -> bytes:
        await asyncio.sleep(0)
        assert current_connection_info().peer_address == self.peer
        return data[::-1]

    async def eof(self) -> bytes:
        return b"bye"

    async def close(self) -> None:
        self.peer = None


def test_those_that_keep_the_rules_pass() -> None:
    """Functions and classes, raw and framed."""
    check_processor(upper, reference=bytes.upper, max_examples=20)
    check_processor(Session, framing="line", max_examples=20)
    check_processor(Session, framing="len32", max_examples=20)


class Counts:
    """Its replies depend on which call is within it."""

    def __init__(self) -> None:
        self.within = 0

    async def process(self, data: bytes) -> bytes:
        self.within += 1
        await asyncio.sleep(0)
        try:
            return b"%d" % self.within
        finally:
            self.within -= 1


def test_calls_that_disturb_each_other_are_found() -> None:
    """One by one they would be right."""
    with pytest.raises(AssertionError, match="calls that overlap"):
        check_processor(Counts, framing="line", max_examples=50)


SEEN: list[bytes] = []


async def remembers(data: bytes) -> bytes:
    SEEN.append(data)
    return b"%d" % len(SEEN)


async def text(data: bytes) -> Any:
    return "text"


async def split(data: bytes) -> bytes:
    return b"(" + data + b")"


async def raises(data: bytes) -> bytes:
    raise ValueError("no")


@pytest.mark.parametrize(
    ("processor", "words"),
    [
        (remembers, "instances share state|calls that overlap"),
        (text, "returned str"),
        (split, "depend on the segmentation"),
        (raises, "the processor raised ValueError"),
    ],
)
def test_the_rules_of_all_processors_hold(processor: Any, words: str) -> None:
    """With the smallest input that shows it."""
    with pytest.raises(AssertionError, match=words):
        check_processor(processor, max_examples=50)


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_within_a_running_loop_it_says_what_to_do() -> None:
    """It would wait for itself."""
    with pytest.raises(LocalError, match=r"asyncio\.to_thread"):
        check_processor(upper)
    await asyncio.to_thread(check_processor, upper, max_examples=3)
