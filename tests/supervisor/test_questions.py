"""questions: the worker's end answers each question once, and ends with the supervisor."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.supervisor.questions import (
    LONGEST_ANSWER_BYTES,
    LONGEST_QUESTION_BYTES,
    PART,
    Lines,
    answer_questions,
)
from tests.support import DEADLINE_S

LONG = [{"n": number} for number in range(3 * PART + 1)]


async def answer(what: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Stand in for `Answers.answer`."""
    if what == "refuse":
        raise ValueError("not so")
    if what == "fail":
        raise KeyError("oops")
    if what == "long":
        return {"open": 3, "connections": LONG, "few": [1], "none": []}
    if what == "large":
        return {"text": "x" * (LONGEST_ANSWER_BYTES // 2)}
    if what == "too long":
        return {"text": "x" * LONGEST_ANSWER_BYTES}
    return {"said": what, **arguments}


class Asker:
    """The supervisor's end, which writes lines and reads lines."""

    def __init__(self) -> None:
        self.sock, theirs = socket.socketpair()
        self.sock.setblocking(False)
        theirs.setblocking(False)
        self.theirs = theirs
        self.task = asyncio.create_task(answer_questions(theirs, answer))
        self._read = b""

    async def write(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def ask(self, number: int, what: str, **arguments: Any) -> None:
        question = {"id": number, "ask": what, "arguments": arguments}
        await self.write(json.dumps(question).encode() + b"\n")

    async def hear(self) -> Any:
        async with asyncio.timeout(DEADLINE_S):
            while b"\n" not in self._read:
                data = await asyncio.get_running_loop().sock_recv(self.sock, 1 << 16)
                assert data, "it is closed"
                self._read += data
        line, _, self._read = self._read.partition(b"\n")
        return json.loads(line)

    async def ended(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            await self.task


@pytest_asyncio.fixture
async def asker() -> AsyncIterator[Asker]:
    made = Asker()
    yield made
    made.task.cancel()
    await asyncio.gather(made.task, return_exceptions=True)
    made.sock.close()
    assert made.theirs.fileno() == -1


@pytest.mark.asyncio
async def test_each_question_has_its_answer_in_order(asker: Asker) -> None:
    """However many wait."""
    for number in range(5):
        await asker.ask(number, "x", sort="age")
    for number in range(5):
        assert await asker.hear() == {"id": number, "answer": {"said": "x", "sort": "age"}}


@pytest.mark.asyncio
async def test_long_list_arrives_whole(asker: Asker) -> None:
    """Although it is encoded in parts."""
    await asker.ask(1, "long")
    said = {"open": 3, "connections": LONG, "few": [1], "none": []}
    assert await asker.hear() == {"id": 1, "answer": said}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("what", "kind", "text"),
    [("refuse", "refused", "not so"), ("fail", "failed", "oops"), ("too long", "failed", "4194")],
)
async def test_question_without_an_answer_ends_nothing(
    asker: Asker, what: str, kind: str, text: str
) -> None:
    """The asker hears of it, and the next is answered."""
    await asker.ask(1, what)
    told = await asker.hear()
    assert set(told) == {"id", kind}
    assert text in told[kind]
    await asker.ask(2, "x")
    assert await asker.hear() == {"id": 2, "answer": {"said": "x"}}


@pytest.mark.asyncio
@pytest.mark.parametrize("line", [b"{", b"[]", b"1", b"{}", b'{"id":1,"ask":"x"}', b"\xff"])
async def test_garbage_is_a_line_in_the_log(
    asker: Asker, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """And no answer."""
    await asker.write(line + b"\n")
    await asker.ask(2, "x")
    assert await asker.hear() == {"id": 2, "answer": {"said": "x"}}
    assert "cannot be read" in caplog.text


@pytest.mark.asyncio
async def test_question_without_an_end_is_the_last(
    asker: Asker, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not kept in memory."""
    with caplog.at_level(logging.ERROR, "asyncrev"):
        await asker.write(b"x" * (LONGEST_QUESTION_BYTES + 1))
        await asker.ended()
    assert f"more than {LONGEST_QUESTION_BYTES} bytes" in caplog.text


@pytest.mark.asyncio
async def test_end_of_the_supervisor_ends_it(asker: Asker) -> None:
    """Also between the halves of an answer that nobody reads."""
    await asker.ask(1, "large")
    assert await asyncio.get_running_loop().sock_recv(asker.sock, 1)
    asker.sock.close()
    await asker.ended()


@given(lines=st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\n", b""))), data=st.data())
def test_lines_come_whole_however_they_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    """And what has no end yet does not come."""
    stream = b"".join(line + b"\n" for line in lines) + b"begun"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    cutter, found = Lines(20), []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += cutter.feed(stream[begin:end])
    assert found == lines
    assert cutter.feed(b"\n") == [b"begun"]


@pytest.mark.parametrize("pieces", [[b"123456"], [b"123", b"456"], [b"1\n123456\n"]])
def test_longest_line(pieces: list[bytes]) -> None:
    """Exactly so long is not too long."""
    assert Lines(6).feed(b"123456\n") == [b"123456"]
    cutter = Lines(5)
    *first, last = pieces
    for piece in first:
        cutter.feed(piece)
    with pytest.raises(ValueError, match="more than 5 bytes"):
        cutter.feed(last)
