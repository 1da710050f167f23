"""strategies: they make what they promise, reach the corners, and shrink to the plainest case."""

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from asyncrev.errors import SettingsError
from asyncrev.testing import strategies
from asyncrev.testing.peers import Close, HalfClose, Receive, Reset, Script, Send, Stall
from asyncrev.testing.strategies import (
    chunkings,
    frame_borders,
    frames,
    payloads,
    peer_scripts,
    split,
    wire_frame,
    write_schedules,
)
from tests.framed import PREFIX_BYTES, expected

FRAMINGS = ["line", "len32", "len64"]
DATA = bytes(range(40))
FIND = settings(max_examples=1000, database=None, derandomize=True)


@given(st.binary(max_size=40), st.lists(st.integers(1, 50), max_size=12))
def test_split_leaves_no_byte_out_and_no_piece_empty(data: bytes, lengths: list[int]) -> None:
    """Whatever the lengths, the pieces are the data; as long as it lasts they have the lengths."""
    pieces = split(data, lengths)
    assert b"".join(pieces) == data
    assert all(pieces)
    assert [len(piece) for piece in pieces[:-1]] == lengths[: max(0, len(pieces) - 1)]


@given(st.data(), st.binary(max_size=60), st.one_of(st.none(), st.integers(1, 9)))
def test_chunkings_are_the_data_in_pieces_of_at_most_so_many_bytes(
    draw: Any, data: bytes, most_bytes: int | None
) -> None:
    """Without borders, and with borders anywhere, also outside of the data."""
    for borders in ((), (-5, 0, 7, len(data), 99)):
        pieces = draw.draw(chunkings(data, most_bytes=most_bytes, borders=borders))
        assert b"".join(pieces) == data
        assert all(1 <= len(piece) <= (most_bytes or 60) for piece in pieces)


@pytest.mark.parametrize(
    ("what", "minimal"),
    [
        (lambda pieces: True, [DATA]),
        (lambda pieces: len(pieces) >= 2, [DATA[:1], DATA[1:]]),
        (lambda pieces: {len(piece) for piece in pieces} == {1}, [bytes([i]) for i in DATA]),
        (lambda pieces: len(pieces[0]) == 17, [DATA[:17], DATA[17:]]),
    ],
    ids=["any", "split", "byte-by-byte", "split-in-the-middle"],
)
def test_chunkings_reach_and_shrink_to(what: Any, minimal: list[bytes]) -> None:
    """One piece is the plainest; then as few splits as it takes."""
    assert find(chunkings(DATA), what, settings=FIND) == minimal


def test_chunkings_split_near_borders() -> None:
    """At a border that hardly any split would hit by itself, and a byte before and behind it."""
    data = DATA * 125
    border = int("32" + "10")  # Hypothesis tries the numbers that it sees in a module
    few = settings(FIND, max_examples=100)
    for off in (border, border - 1, border + 1):

        def is_split_there(pieces: list[bytes], off: int = off) -> bool:
            return len(pieces[0]) == off

        pieces = find(chunkings(data, borders=[border]), is_split_there, settings=few)
        assert [len(piece) for piece in pieces] == [off, len(data) - off]
    with pytest.raises(NoSuchExample):
        find(chunkings(data), is_split_there, settings=few)


@pytest.mark.parametrize(
    "what",
    [[None], [3], [0, 0, 0, 0], [1, 1, 1, 1], [5, 0, 5, 0]],
    ids=["all", "partial", "blocks", "byte-by-byte", "sips"],
)
def test_write_schedules_reach(what: Any) -> None:
    """All, a part, many blocks in a row, single bytes: as a part of some schedule, and alone."""
    count = len(what)
    found = find(
        write_schedules(8),
        lambda steps: any(steps[i : i + count] == what for i in range(len(steps))),
        settings=FIND,
    )
    assert found == what


def test_write_schedules_end_with_an_error_only_if_one_is_named() -> None:
    """An error is the last step."""
    found = find(
        write_schedules(errors=[BrokenPipeError]), lambda steps: bool(steps), settings=FIND
    )
    assert found in ([BrokenPipeError], [None])

    @given(write_schedules(errors=[BrokenPipeError]), write_schedules())
    def check(with_error: Any, without: Any) -> None:
        assert BrokenPipeError not in with_error[:-1]
        assert all(step is None or 0 <= step <= 64 for step in without)

    check()


@given(st.data(), st.binary(max_size=40), st.booleans())
def test_peer_scripts_send_the_data_and_wait_for_no_more_than_is_owed(
    draw: Any, data: bytes, may_break: bool
) -> None:
    """Half as many bytes of reply as are sent: a `Receive` never asks for more in all."""
    script = draw.draw(
        peer_scripts(data, reply_bytes=lambda sent: len(sent) // 2, may_break=may_break)
    )
    sent, asked_bytes = b"", 0
    for step in script[:-1]:
        assert isinstance(step, (Send, Receive, Stall))
        if isinstance(step, Send):
            sent += step.data
        elif isinstance(step, Receive):
            asked_bytes += step.nbytes
            assert asked_bytes <= len(sent) // 2
    assert data.startswith(sent)
    assert isinstance(script[-1], (HalfClose, Close, Reset) if may_break else HalfClose)
    assert sent == data or not isinstance(script[-1], HalfClose)


def test_peer_scripts_shrink_to_one_send_and_a_half_close() -> None:
    """The plainest peer."""
    assert find(peer_scripts(b"abc"), lambda _: True, settings=FIND) == [Send(b"abc"), HalfClose()]


def test_peer_scripts_break_at_any_moment() -> None:
    """Before the first byte, too; who half-closes has sent all."""
    assert find(peer_scripts(b"abc"), lambda script: len(script) == 1, settings=FIND) == [Close()]


@pytest.mark.parametrize("kind", [Receive, Stall, Close, Reset])
def test_peer_scripts_reach_every_step_and_shrink_to_little_else(kind: type) -> None:
    """Such a step, and what it takes."""

    def has_it(script: Script) -> bool:
        return any(isinstance(step, kind) for step in script)

    script = find(peer_scripts(b"abc"), has_it, settings=FIND)
    assert len(script) <= 3
    assert repr(script[-1]) in ("HalfClose()", "Close()", "Reset()")


@pytest.mark.parametrize("framing", FRAMINGS)
def test_frames_are_what_the_oracle_reads(framing: str) -> None:
    """Every payload comes out of the stream again, by the reading of an oracle."""

    @given(frames(framing))
    def check(drawn: list[strategies.Frame]) -> None:
        got: list[bytes] = []

        def keep(payload: bytes) -> None:
            got.append(payload)

        stream = b"".join(frame.wire for frame in drawn)
        read = expected(framing, stream, keep, max_frame_bytes=1000, ends=True)
        assert (got, read.error, read.partial_frame_bytes) == ([f.payload for f in drawn], None, 0)

    check()


@pytest.mark.parametrize("framing", FRAMINGS)
def test_payloads_hold_what_looks_like_an_end(framing: str) -> None:
    """A carriage return inside of a line; newlines and whole prefixes inside of other frames."""
    traps = [b"\r"] if framing == "line" else [b"\r", b"\n", bytes(PREFIX_BYTES[framing])]
    for trap in traps:
        assert trap in find(
            payloads(framing), lambda drawn, trap=trap: trap in drawn, settings=FIND
        )
    assert find(payloads(framing), lambda _: True, settings=FIND) == b""


def test_frame_borders_are_where_prefixes_payloads_and_ends_meet() -> None:
    """For lines and prefixes; an unfinished frame at the end has none."""
    assert frame_borders("line")(b"ab\r\nc\nd") == [0, 2, 4, 5, 6]
    stream = wire_frame("len32", b"ab") + wire_frame("len32", b"cd") + wire_frame("len32", b"e")
    assert frame_borders("len32")(stream + b"\0\0\0\1") == [4, 6, 10, 12, 16, 17]
    assert wire_frame("line", b"ab", b"\r\n") == b"ab\r\n"
    assert wire_frame("len64", b"ab") == b"\0\0\0\0\0\0\0\2ab"


@pytest.mark.parametrize("make", [payloads, frames, frame_borders])
@pytest.mark.parametrize("framing", ["raw", "lines"])
def test_framing_without_frames_is_refused(make: Any, framing: str) -> None:
    """At once, with the names that there are."""
    with pytest.raises(SettingsError, match="line, len32, len64"):
        make(framing)


@pytest.mark.parametrize("name", ["check_processor", "strategies"])
def test_missing_hypothesis_is_named_with_the_extra(name: str) -> None:
    """What needs it says what to install, and the rest works without."""
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from asyncrev.testing import LeakCheck, ScriptedTransport, ServerThread, play\n"
        f"try:\n    from asyncrev.testing import {name}\n"
        "except ImportError as error:\n    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'asyncrev[testing]'" in run.stdout


def test_package_needs_neither_hypothesis_nor_pytest_and_has_what_it_promises() -> None:
    """Importing it is cheap enough for a child process, and every public name is there."""
    code = (
        "import sys, asyncrev.testing as t\n"
        "print(sorted({'hypothesis', 'pytest'} & {*sys.modules}))\n"
        "print([name for name in t.__all__ if not hasattr(t, name)], hasattr(t, 'nothing'))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[:2] == ["[]", "[] False"]
