"""remote_source: an answer is that to its own question, and a process that has gone is told."""

import asyncio
import contextlib
import json
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncrev.admin.sources import NoAnswer, NoWorker
from asyncrev.supervisor import remote_source as module
from asyncrev.supervisor.questions import Lines, answer_questions
from asyncrev.supervisor.remote_source import RemoteSource
from tests.support import DEADLINE_S, until

on_asyncio = pytest.mark.asyncio(loop_factories=["asyncio"])


class Peer:
    """The worker's end, which says what a test wants."""

    def __init__(self) -> None:
        self.sock, ours = socket.socketpair()
        self.sock.setblocking(False)
        self.ours = ours
        self.source = RemoteSource(ours, "3")

    def say(self, **answer: Any) -> None:
        self.sock.sendall(json.dumps(answer).encode() + b"\n")

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE_S):
            line = await asyncio.get_running_loop().sock_recv(self.sock, 4096)
        assert line.count(b"\n") == 1, "one question at a time"
        question: dict[str, Any] = json.loads(line)
        return question


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.source.close()
    made.sock.close()
    made.ours.close()


def heard(sock: socket.socket) -> int:
    """Return how many questions wait."""
    with contextlib.suppress(BlockingIOError):
        return sock.recv(1 << 16).count(b"\n")
    return 0


def fill(sock: socket.socket) -> None:
    """Send until there is no room."""
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(b"x" * 4096)


async def settle() -> None:
    """Have the loop read what has arrived."""
    for _ in range(3):
        await asyncio.sleep(0)


@on_asyncio
async def test_question_and_answer(peer: Peer) -> None:
    """With the real other end."""

    async def answer(what: str, arguments: Any) -> Any:
        if what == "refuse":
            raise ValueError("not so")
        if what == "fail":
            raise KeyError("oops")
        return {"what": what, **arguments}

    answering = asyncio.create_task(answer_questions(peer.sock, answer))
    asked = await asyncio.gather(*(peer.source.ask("x", DEADLINE_S, n=n) for n in range(3)))
    assert asked == [{"what": "x", "n": n} for n in range(3)]
    with pytest.raises(ValueError, match="not so"):
        await peer.source.ask("refuse", DEADLINE_S)
    with pytest.raises(NoAnswer, match="failed"):
        await peer.source.ask("fail", DEADLINE_S)
    assert await peer.source.ask("y", DEADLINE_S) == {"what": "y"}
    peer.source.close()
    async with asyncio.timeout(DEADLINE_S):
        await answering


@on_asyncio
async def test_late_answer_is_not_that_to_the_next(peer: Peer) -> None:
    """It makes room for the next, which until then is not sent."""
    with pytest.raises(NoAnswer, match="does not answer"):
        await peer.source.ask("x", 0.01)
    for _ in range(3):
        with pytest.raises(NoAnswer, match="does not answer"):
            await peer.source.ask("y", 0.0)
    late = await peer.hear()
    assert late["ask"] == "x"
    peer.say(id=late["id"], answer={"n": "late"})
    await settle()
    asking = asyncio.create_task(peer.source.ask("y", DEADLINE_S))
    question = await peer.hear()
    peer.say(id=late["id"], answer={"n": "late again"})
    peer.say(id=question["id"], answer={"n": "in time"})
    assert await asking == {"n": "in time"}


@on_asyncio
async def test_next_waits_as_long_as_the_earlier_one_may_take(peer: Peer) -> None:
    """So that whoever asks just after a slow one is not refused for it."""
    one = asyncio.create_task(peer.source.ask("x", DEADLINE_S))
    question = await peer.hear()
    one.cancel()
    other = asyncio.create_task(peer.source.ask("y", DEADLINE_S))
    await settle()
    peer.say(id=question["id"], answer={"n": 1})
    question = await peer.hear()
    assert question["ask"] == "y"
    peer.say(id=question["id"], answer={"n": 2})
    assert await other == {"n": 2}


@on_asyncio
async def test_end_of_the_worker_is_told_at_once(peer: Peer) -> None:
    """To whoever waits, and to whoever asks later."""
    asking = asyncio.create_task(peer.source.ask("x", DEADLINE_S))
    await peer.hear()
    peer.sock.close()
    with pytest.raises(NoWorker, match="has ended"):
        await asking
    with pytest.raises(NoWorker, match="has ended"):
        await peer.source.ask("x", DEADLINE_S)
    assert peer.ours.fileno() == -1
    peer.source.close()


@on_asyncio
async def test_close_of_another_thread_is_told_at_once(peer: Peer) -> None:
    """As the supervisor's loop closes it."""
    asking = asyncio.create_task(peer.source.ask("x", DEADLINE_S))
    await peer.hear()
    thread = threading.Thread(target=peer.source.close)
    thread.start()
    thread.join(DEADLINE_S)
    with pytest.raises(NoWorker, match="has ended"):
        await asking
    await until(lambda: peer.ours.fileno() == -1, "the socket is closed")


@on_asyncio
async def test_close_before_a_question(peer: Peer) -> None:
    """Nothing is asked; it can be closed again."""
    peer.source.close()
    peer.source.close()
    assert peer.ours.fileno() == -1
    with pytest.raises(NoWorker, match="has ended"):
        await peer.source.ask("x")


@on_asyncio
async def test_close_after_its_loop(peer: Peer) -> None:
    """The endpoint's thread has ended before the worker."""

    def ask() -> None:
        with contextlib.suppress(NoAnswer):
            asyncio.run(peer.source.ask("x", 0.0))

    await asyncio.to_thread(ask)
    assert peer.ours.fileno() != -1
    peer.source.close()
    assert peer.ours.fileno() == -1


@on_asyncio
async def test_worker_that_reads_nothing_is_no_answer(peer: Peer) -> None:
    """Nobody waits for it with half a question written."""
    peer.ours.setblocking(False)
    fill(peer.ours)
    with pytest.raises(NoAnswer, match="reads no questions"):
        await peer.source.ask("x", DEADLINE_S)


@on_asyncio
async def test_answer_without_an_end_is_not_kept(
    peer: Peer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker is not asked any more."""
    monkeypatch.setattr(peer.source, "_lines", Lines(1000))
    asking = asyncio.create_task(peer.source.ask("x", DEADLINE_S))
    await peer.hear()
    with caplog.at_level(logging.ERROR, "asyncrev"):
        peer.sock.sendall(b"x" * 1001)
        with pytest.raises(NoWorker):
            await asking
    assert "worker 3 is not asked any more: a line of more than 1000 bytes" in caplog.text


ODD = st.sampled_from(
    [b"", b"{", b"[]", b"null", b'"x"', b"{}", b"\xff\xfe", b"[" * 3000, b'{"id":null,"answer":{}}']
)


@given(
    rounds=st.lists(
        st.tuples(
            st.lists(st.one_of(ODD, st.integers(-2, 2)), max_size=4),  # before the answer
            st.booleans(),  # whether it comes in time
            st.lists(st.one_of(ODD, st.integers(-2, 0)), max_size=3),  # after it
            st.lists(st.integers(0, 400), max_size=4),  # where it is cut
        ),
        max_size=5,
    )
)
@settings(deadline=None, max_examples=100)
def test_no_answer_is_taken_for_another(rounds: list[Any]) -> None:
    """Whatever comes before, after and between: late ones, repeated ones, future ones, garbage."""

    def line(one: bytes | int, number: int) -> bytes:
        if isinstance(one, bytes):
            return one + b"\n"
        other = number + one
        # What has the right number is the answer, whatever comes before it.
        return json.dumps({"id": other, "answer": {"to": other}}).encode() + b"\n"

    async def play() -> None:
        peer = Peer()
        with peer.sock, contextlib.closing(peer.source):
            for before, in_time, after, cuts in rounds:
                asking = asyncio.create_task(peer.source.ask("x", DEADLINE_S if in_time else 0.0))
                await settle()
                number = (await peer.hear())["id"]
                if not in_time:
                    with pytest.raises(NoAnswer):
                        await asking
                said = [*before, 0, *after]
                stream = b"".join(line(one, number) for one in said)
                ends = sorted(min(cut, len(stream)) for cut in cuts)
                for begin, end in zip([0, *ends], [*ends, len(stream)], strict=True):
                    peer.sock.sendall(stream[begin:end])
                    await settle()
                if in_time:
                    assert await asking == {"to": number}
                assert heard(peer.sock) == 0

    logging.disable()
    try:
        asyncio.run(play())
    finally:
        logging.disable(logging.NOTSET)


@on_asyncio
async def test_one_read_takes_a_whole_answer(peer: Peer) -> None:
    """As sent at once; larger ones take some reads."""
    asking = asyncio.create_task(peer.source.ask("x", DEADLINE_S))
    question = await peer.hear()
    text = "x" * (2 * module.READ_BYTES)
    line = json.dumps({"id": question["id"], "answer": {"text": text}}).encode() + b"\n"
    await asyncio.get_running_loop().sock_sendall(peer.sock, line)
    assert await asking == {"text": text}
