"""messages: a cycle of messages that differ, and their replies."""

from typing import Any

import pytest

from asyncrev.bench.messages import MOST_VARIANTS, make_cycle
from asyncrev.bench.plan import Plan
from asyncrev.errors import SettingsError
from asyncrev.frames.registry import FRAMINGS


@pytest.mark.parametrize("framing", ["raw", "line", "len32", "len64"])
@pytest.mark.parametrize("size", [1, 64, 5000])
def test_messages_are_frames_that_differ(framing: str, size: int) -> None:
    """Of one length, and each with its reply."""
    cycle = make_cycle(Plan(framing=framing, size_bytes=size))
    assert {len(request) for request in cycle.requests} == {cycle.request_bytes}
    if size > 1:
        assert len(set(cycle.requests)) == len(cycle.requests)
    assert 2 <= len(cycle.requests) <= MOST_VARIANTS
    if framing == "raw":
        assert cycle.replies == [request[::-1] for request in cycle.requests]
        return
    data = memoryview(cycle.requests[0])
    grammar = FRAMINGS[framing]
    scan = grammar.scan(data, 1 << 20)
    assert scan[0] == len(data)
    assert len(list(grammar.spans(data, scan.runs))) == 1


def test_messages_are_the_same_in_every_run() -> None:
    """So that runs can be compared."""
    assert make_cycle(Plan()).requests == make_cycle(Plan()).requests


@pytest.mark.parametrize("depth", [1, 3, 300])
def test_any_messages_that_follow_one_another_are_one_slice(depth: int) -> None:
    """Over the end of the cycle, too."""
    cycle = make_cycle(Plan(size_bytes=10, depth=depth))
    count = len(cycle.requests)
    for first in (0, count - 1, count + 5):
        wanted = b"".join(cycle.requests[(first + n) % count] for n in range(depth))
        assert cycle.sent(first, depth) == wanted


def test_function_makes_the_replies() -> None:
    """Of the payload, and framed as the messages."""
    cycle = make_cycle(
        Plan(framing="len32", expect="m:f", size_bytes=5), lambda payload: bytearray(payload[:2])
    )
    assert cycle.replies[0] == b"\0\0\0\2" + cycle.requests[0][4:6]
    assert not cycle.splits_anywhere


@pytest.mark.parametrize(
    ("framing", "function", "words"),
    [
        ("raw", lambda _: "text", "must return bytes"),
        ("raw", lambda _: None, "must return bytes"),
        ("raw", lambda _: b"", "returned no bytes"),
        ("raw", lambda _: 1 / 0, "ZeroDivisionError"),
        ("line", lambda _: b"a\nb", "--expect m:f: a reply to one line"),
        ("raw", None, "give reverse, echo or MODULE:FUNCTION"),
    ],
)
def test_function_that_makes_none_is_refused(framing: str, function: Any, words: str) -> None:
    """Before anything is sent."""
    with pytest.raises(SettingsError, match=words):
        make_cycle(Plan(framing=framing, expect="m:f"), function)
