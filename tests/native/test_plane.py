"""plane: the native plane does what the one in Python does, and keeps nothing alive.

Which classes run under which tests is in tests/planes.py; here is what compares the two, and what
only C can do wrong. Not compared, because the planes may differ: how a control entry without an
`Entry` is delivered (`answer` gives each one), and the bytes in a slot after its processing.
"""

import types
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncrev.native.plane import INTERFACE, as_plane
from tests.native.twins import DESCRIPTORS, MASKS, Twins
from tests.planes import NATIVE_PLANE, needs_plane


def test_extension_of_other_sources_is_refused() -> None:
    """With both numbers, and what to do."""
    module = types.ModuleType("_plane")
    with pytest.raises(ImportError, match=f"its interface is None, not {INTERFACE}"):
        as_plane(module)
    module.INTERFACE = INTERFACE
    assert as_plane(module) is module


# -- equal by test ---------------------------------------------------------------------------------

NUMBERS = st.integers(0, DESCRIPTORS - 1)
# Frames of all kinds, whole and not, among bytes that choose what `ByContent` does.
DATA = st.one_of(
    st.binary(max_size=40),
    st.binary(min_size=1, max_size=40),
    st.lists(st.sampled_from([b"ab\n", b"\n", b"abc\r\n", b"abcde\n", b"toolong\n"])).map(b"".join),
    st.lists(st.sampled_from([b"\0\0\0\2ab", b"\0\0\0\0", b"\0\0\0\5abcde", b"\0\0\0\6"])).map(
        b"".join
    ),
    st.lists(st.sampled_from([bytes(7) + b"\1x", bytes(8), bytes(7) + b"\3abc"])).map(b"".join),
    st.integers(60, 9000).map(bytes),
)
COUNTS = ("partial_frame_bytes", "read_bytes", "reserved_bytes", "small_reads", "look_at_s")
FLAGS = ("abandoned", "waits_for_credit", "waits_for_slot", "reads", "sends")


def call(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return calls of one kind."""
    return st.tuples(st.just(name), *arguments)


connects = call("connect", NUMBERS, st.booleans(), st.booleans(), st.integers(0, 4), st.booleans())
sends = call("peer", NUMBERS, st.just("send"), st.just(0), DATA)
receives = call(
    "receive",
    st.lists(st.tuples(NUMBERS, st.sampled_from(MASKS)), min_size=1, max_size=6),
    st.sampled_from([0, 0, 0, 1, 7]),
    st.booleans(),
)
receives_of_all = call(
    "receive", st.just([(number, 1) for number in range(DESCRIPTORS)]), st.just(0), st.booleans()
)
answers = st.one_of(
    call("answer", st.sampled_from([1, 2, 3, 4, 4])),
    call("wait", st.booleans()),
    call(
        "finish",
        st.booleans(),
        st.integers(0, 6),
        st.tuples(*map(st.integers, (0,) * 5, (30, 9, 9, 50, 5))),
    ),
)
delivers = call("deliver", st.sampled_from([1, 2, 3, 3, 3]), st.booleans())
releases = call("release", st.integers(-1, 9), st.sampled_from([True, True, False]))
others = st.one_of(
    call("close", NUMBERS),
    call("peer", NUMBERS, st.just("read"), st.integers(0, 9999), st.just(b"")),
    call(
        "peer",
        NUMBERS,
        st.sampled_from(["shutdown", "close", "reset"]),
        st.just(0),
        st.just(b""),
    ),
    call("publish", st.integers(0, 49), st.integers(0, 3), st.booleans(), DATA),
    call("row", st.integers(0, 9), st.sampled_from(FLAGS), st.sampled_from([0, 1, 1])),
    call("row", st.integers(0, 9), st.sampled_from(COUNTS), st.integers(0, 40)),
    call("work", st.integers(0, 9), st.sampled_from(["plain", "not plain", "abandoned"])),
    call("signal", st.sampled_from(["request", "clear", "clear", "hold", "framed", "framed"])),
    call("signal", st.sampled_from(["closed", "closed", "request", "clear", "input"])),
)
# Most calls are on the way of a chunk, so that much of it goes all the way.
calls = st.lists(
    st.one_of(
        connects,
        sends,
        sends,
        receives,
        receives_of_all,
        answers,
        answers,
        delivers,
        releases,
        others,
        others,
    ),
    min_size=5,
    max_size=70,
)
sizes = st.fixed_dictionaries(
    {
        "slots": st.integers(1, 4),
        "slot_bytes": st.sampled_from([8, 32, 4096, 9000]),
        "entries": st.integers(4, 12),
        "small_slot_bytes": st.sampled_from([4, 8, 32]),
        "most_entries": st.integers(1, 8),
        "most_bytes": st.sampled_from([1, 20, 100, 20_000]),
    }
)
FIRST = [("connect", number, number == 3, False, number, True) for number in range(DESCRIPTORS)]


def drive(sizes: dict[str, int], calls: list[tuple[Any, ...]]) -> None:
    """Make the same calls on both, and find no difference."""
    assert NATIVE_PLANE is not None
    twins = Twins(NATIVE_PLANE, sizes)
    try:
        for one in [*FIRST, ("signal", "framed"), *calls]:
            twins.do(*one)
        # Everything goes its way in the end, and nothing is left.
        for _ in range(2):
            twins.do("answer", 4)
            twins.do("deliver", 3, True)
            twins.do("release", 0, True)
            for number in range(DESCRIPTORS):
                twins.do("peer", number, "read", 1 << 16, b"")
    finally:
        twins.close()


@needs_plane
@settings(max_examples=800)
@given(sizes=sizes, calls=calls)
def test_no_calls_tell_both_planes_apart(
    sizes: dict[str, int], calls: list[tuple[Any, ...]]
) -> None:
    """Bytes, order, outcomes, counters, free slots, reports, requests and errors."""
    drive(sizes, calls)


@needs_plane
@pytest.mark.stress
@pytest.mark.timeout(900)
@settings(max_examples=15_000)
@given(sizes=sizes, calls=calls)
def test_no_calls_tell_both_planes_apart_for_long(
    sizes: dict[str, int], calls: list[tuple[Any, ...]]
) -> None:
    """The same, some thousand times."""
    drive(sizes, calls)
