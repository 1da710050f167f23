"""lanes: a lane fed by hand answers like a real one, and finds out who breaks a rule."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.frames.registry import as_framing
from asyncrev.testing.lanes import (
    OTHER,
    PLAIN,
    FedLane,
    Outcome,
    Violation,
    World,
    shown,
    shown_chunks,
)

WORLDS = [PLAIN, OTHER]


class Upper:
    """Answers in capitals, and with a last word."""

    def process(self, chunk: memoryview) -> Any:
        """Answer in capitals."""
        return bytes(chunk).upper()

    def eof(self) -> Any:
        """Answer with a last word."""
        return b"bye"


class InPlace(Upper):
    """Answers with the chunk itself."""

    def process(self, chunk: memoryview) -> Any:
        """Write capitals over the chunk."""
        chunk[:] = bytes(chunk).upper()
        return chunk


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("kind", [Upper, InPlace])
@given(chunks=st.lists(st.binary(min_size=1, max_size=20), max_size=8))
def test_each_chunk_has_its_answer_in_every_world(
    kind: type[Upper], world: World, chunks: list[bytes]
) -> None:
    """Read late or at once, as a view or a copy; the end has its own."""
    lane = FedLane(kind, None, world)
    for chunk in chunks:
        lane.feed(chunk)
    outcome = lane.end()
    assert outcome == Outcome([chunk.upper() for chunk in chunks], b"bye", None)
    assert outcome.replies == b"".join(chunks).upper() + b"bye"


@pytest.mark.parametrize("world", WORLDS)
def test_frames_are_answered_as_frames(world: World) -> None:
    """However they are split."""
    lane = FedLane(InPlace, as_framing("line"), world)
    for chunk in (b"ab\ncd", b"e", b"\nf"):
        lane.feed(chunk)
    assert lane.end() == Outcome([b"AB\n", b"", b"CDE\n"], b"F\nbye\n", None)


def test_memory_of_a_chunk_is_filled_once_its_reply_was_read() -> None:
    """A chunk that was kept for longer holds what nobody sent."""
    kept: list[memoryview] = []

    class Keeping(Upper):
        def process(self, chunk: memoryview) -> bytes:
            kept.append(chunk)
            return b""

    lane = FedLane(Keeping, None, OTHER)
    lane.feed(b"abc")
    assert kept[0] == bytes([OTHER.filler]) * 3


class Failing(Upper):
    """Fails at the second chunk."""

    calls = 0

    def process(self, chunk: memoryview) -> bytes:
        """Fail, or answer in capitals."""
        self.calls += 1
        if self.calls == 2:
            raise ValueError("second")
        return bytes(chunk).upper()


def test_outcome_has_the_error_and_what_came_before_it() -> None:
    """Later chunks, and the end, are not processed."""
    lane = FedLane(Failing, None)
    for chunk in (b"a", b"b", b"c"):
        lane.feed(chunk)
    outcome = lane.end()
    assert outcome.replies == b"A"
    assert type(outcome.error) is ValueError
    assert str(outcome) == "b'A', then ValueError('second')"


def test_outcomes_are_alike_up_to_an_error_of_the_same_type() -> None:
    """How far each came before it may differ."""
    error = ValueError("x")
    assert Outcome([b"ab"], b"c", None).is_like(Outcome([b"a", b"b"], b"c", None))
    assert not Outcome([b"ab"], b"", None).is_like(Outcome([b"ab"], b"c", None))
    assert Outcome([b"a"], b"", error).is_like(Outcome([b"abc"], b"", ValueError("y")))
    assert not Outcome([b"a"], b"", error).is_like(Outcome([b"b"], b"", error))
    assert not Outcome([b"a"], b"", error).is_like(Outcome([b"a"], b"", None))


def reaches_out(chunk: memoryview) -> bytes:
    """Write before the chunk, where its memory is somebody else's."""
    memory: Any = chunk.obj
    memory[0] ^= 0xFF
    return b""


@pytest.mark.parametrize(
    ("process", "says"),
    [
        (reaches_out, "wrote outside its chunk b'abcd'"),
        (lambda chunk: "text", r"process\(\) returned str; it must return bytes"),
        (lambda chunk: chunk[::2], r"not contiguous \(strides \(2,\)\)"),
    ],
)
def test_violation_tells_the_rule(process: Any, says: str) -> None:
    """At the chunk at which it is broken."""

    class Bad(Upper):
        def process(self, chunk: memoryview) -> Any:
            return process(chunk)

    with pytest.raises(Violation, match=says):
        FedLane(Bad, None).feed(b"abcd")


def test_close_that_raises_is_a_violation_with_its_cause() -> None:
    """Nobody hears of it where a connection has gone."""

    class Bad(Upper):
        def close(self) -> None:
            raise ValueError("close")

    lane = FedLane(Bad, None)
    lane.feed(b"x")
    with pytest.raises(Violation, match=r"close\(\) raised ValueError") as caught:
        lane.end()
    assert type(caught.value.__cause__) is ValueError


def test_method_for_many_frames_can_be_hidden() -> None:
    """So that what it answers can be held against what `process` does."""

    class Many(Upper):
        def process_lines(self, lines: memoryview) -> bytes:
            return b"many\n"

    replies = []
    for hooks in (True, False):
        lane = FedLane(Many, as_framing("line"), hooks=hooks)
        lane.feed(b"ab\n")
        replies.append(lane.end().replies)
    assert replies == [b"many\nbye\n", b"AB\nbye\n"]


def test_long_data_and_many_chunks_are_shown_by_their_beginning() -> None:
    """With how much there is."""
    assert shown(b"ab") == "b'ab'"
    assert shown(b"x" * 1000).endswith("... (1000 bytes)")
    assert len(shown(b"x" * 1000)) < 200
    assert shown_chunks([b"a", b"b"]) == "[b'a', b'b']"
    assert shown_chunks([b"a"] * 50).endswith("...] (50 chunks)")
