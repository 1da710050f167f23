"""verification: any segmentation of right replies passes, and any wrong byte is found."""

import itertools
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.bench.messages import Cycle, make_cycle
from asyncrev.bench.plan import Plan
from asyncrev.bench.verification import InOrder, Mismatch, Reversed, verifier


def cycle_of(size: int = 64, depth: int = 4, **settings: object) -> Cycle:
    return make_cycle(Plan(size_bytes=size, depth=depth, **settings))  # type: ignore[arg-type]


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    """Return the parts of `data` between the cuts, none of them empty."""
    offs = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(offs)]


def sent(cycle: Cycle, first: int, messages: int) -> bytes:
    count = len(cycle.requests)
    return b"".join(cycle.requests[(first + n) % count] for n in range(messages))


def verify(verifying: InOrder | Reversed, parts: Iterable[bytes], messages: int) -> None:
    """Have all parts of the replies to `messages` messages verified, and the end."""
    for part in parts:
        messages -= verifying.feed(part, messages)
    verifying.finish()


CUTS = st.lists(st.integers(0, 1 << 20), max_size=12)


@given(
    size=st.integers(1, 300),
    depth=st.integers(1, 6),
    first=st.integers(0, 500),
    rounds=st.lists(st.tuples(st.integers(1, 6), CUTS, CUTS), min_size=1, max_size=5),
)
def test_reversed_accepts_any_segmentation_on_both_ways(
    size: int, depth: int, first: int, rounds: list[tuple[int, list[int], list[int]]]
) -> None:
    """The server's chunks and ours are cut independently; every reply is counted once."""
    cycle = cycle_of(size, depth)
    verifying = verifier(cycle, first)
    assert isinstance(verifying, Reversed)
    done = 0
    for messages, server_cuts, client_cuts in rounds:
        messages = min(messages, depth)
        data = sent(cycle, first + done, messages)
        reply = b"".join(part[::-1] for part in split(data, server_cuts))
        left = messages
        if len(reply) >= 16 and reply == data:
            continue  # a server that reverses single bytes only is an echo
        for part in split(reply, client_cuts):
            left -= verifying.feed(part, left)
        assert left == 0
        done += messages
    verifying.finish()
    assert verifying.next == (first + done) % len(cycle.requests)


@given(
    size=st.integers(16, 300),
    server_cuts=st.lists(st.integers(0, 1 << 20), max_size=2),
    client_cuts=CUTS,
    at=st.integers(0, 1 << 20),
    flip=st.integers(1, 255),
)
def test_reversed_finds_any_changed_byte(
    size: int, server_cuts: list[int], client_cuts: list[int], at: int, flip: int
) -> None:
    """At the latest at the end: a changed byte is one that was not sent so often."""
    cycle = cycle_of(size, 3)
    data = sent(cycle, 0, 3)
    reply = bytearray(b"".join(part[::-1] for part in split(data, server_cuts)))
    at %= len(reply)
    reply[at] ^= flip
    verifying = Reversed(cycle, 0)
    with pytest.raises(Mismatch):
        verify(verifying, split(bytes(reply), client_cuts), 3)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda a, b: a[::-1] + a[::-1],  # doubled
        lambda a, b: a[::-1] + b[32:][::-1] + b[:31][::-1] + b"x",
        lambda a, b: a[32:][::-1] + b[::-1] + a[:32][::-1],  # not one reversal, nor several
        lambda a, b: bytes(len(a) + len(b)),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 64, 1000])
def test_reversed_finds_what_no_server_that_reverses_sends(
    wrong: Callable[[bytes, bytes], bytes], step: int
) -> None:
    """In whatever parts it comes."""
    cycle = cycle_of(64, 2)
    data = wrong(cycle.requests[0], cycle.requests[1])
    verifying = Reversed(cycle, 0)
    parts = [data[off : off + step] for off in range(0, len(data), step)]
    with pytest.raises(Mismatch):
        verify(verifying, parts, 2)


@pytest.mark.parametrize("step", [16, 64, 1000])
def test_an_echo_is_not_reversed(step: int) -> None:
    """Although a server that reverses each byte by itself would send the same."""
    cycle = cycle_of(64, 2)
    with pytest.raises(Mismatch, match="the server echoes") as caught:
        Reversed(cycle, 0).feed(sent(cycle, 0, 2)[:step], 2)
    assert caught.value.offset == 0


def test_reversed_with_large_messages_is_found_in_parts() -> None:
    """A chunk of a mebibyte that comes in pieces of 16 KiB is one explanation."""
    cycle = cycle_of(1 << 20, 1)
    reply = cycle.requests[0][::-1]
    verifying = Reversed(cycle, 0)
    done = sum(verifying.feed(reply[off : off + 16384], 1) for off in range(0, len(reply), 16384))
    assert done == 1
    assert verifying.is_between
    verifying.finish()


@given(
    framing=st.sampled_from(["raw", "line", "len32", "len64"]),
    size=st.integers(1, 200),
    first=st.integers(0, 300),
    cuts=CUTS,
)
def test_in_order_accepts_any_segmentation(
    framing: str, size: int, first: int, cuts: list[int]
) -> None:
    """Frames, or an echo of bytes."""
    cycle = cycle_of(size, 8, framing=framing, expect="echo")
    verifying = verifier(cycle, first)
    assert isinstance(verifying, InOrder)
    data = sent(cycle, first, 8)
    left = 8
    for part in split(data, cuts):
        left -= verifying.feed(part, left)
    assert left == 0
    assert verifying.is_between
    assert verifying.next == (first + 8) % len(cycle.requests)


@given(size=st.integers(1, 100), cuts=CUTS, at=st.integers(0, 1 << 20), flip=st.integers(1, 255))
def test_in_order_gives_the_offset_of_the_first_wrong_byte(
    size: int, cuts: list[int], at: int, flip: int
) -> None:
    """With the expected and the actual byte."""
    cycle = cycle_of(size, 4, framing="len32")
    reply = bytearray(b"".join(cycle.replies[:4]))
    at %= len(reply)
    right = bytes(reply)
    reply[at] ^= flip
    verifying = InOrder(cycle, 0)
    with pytest.raises(Mismatch) as caught:
        verify(verifying, split(bytes(reply), cuts), 4)
    assert caught.value.offset == at
    assert caught.value.expected[0] == right[at]
    assert caught.value.actual[0] == reply[at]


@pytest.mark.parametrize("expect", ["echo", "reverse"])
def test_more_than_was_asked_for_is_a_mismatch(expect: str) -> None:
    """A reply to nothing."""
    cycle = cycle_of(8, 2, expect=expect)
    verifying = verifier(cycle, 0)
    assert verifying.feed(cycle.replies[0], 1) == 1
    with pytest.raises(Mismatch, match="nothing was asked") as caught:
        verifying.feed(b"x", 0)
    assert caught.value.offset == 8


def test_whole_replies_may_be_compared_by_the_caller() -> None:
    """As the loop does where one message is in flight."""
    for cycle in (cycle_of(8, 1), cycle_of(8, 1, expect="echo")):
        verifying = verifier(cycle, len(cycle.requests) - 1)
        assert verifying.is_between
        verifying.skip(1)
        assert verifying.next == 0
        assert verifying.feed(cycle.replies[0], 1) == 1
        verifying.finish()
