"""log_text: whatever a record holds, it is one record, of bounded length, in printable text."""

import logging
import sys

import hypothesis
import hypothesis.strategies as st
import pytest

from asyncrev.log_text import (
    INDENT,
    MOST_CHARACTERS,
    RecordFormatter,
    name_of_peer,
    one_line,
    printable,
    shorten_to,
)

FORGED = "2026-11-26 00:00:00,000 CRITICAL forged"


def record(text: object, *args: object, **settings: object) -> logging.LogRecord:
    """Return a record at WARNING."""
    made = logging.LogRecord("asyncrev", logging.WARNING, __file__, 1, text, args, None)
    made.__dict__.update(settings)
    return made


def formatted(text: object, *args: object, **settings: object) -> str:
    """Return how it is written."""
    return RecordFormatter().format(record(text, *args, **settings))


def test_prefix_is_before_the_text_of_the_first_line_only() -> None:
    """The place of a worker's name."""
    first, second = RecordFormatter("worker 2: ").format(record("a\nb")).split("\n")
    assert first.endswith(" WARNING worker 2: a")
    assert second == f"{INDENT}b"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain, with accents: é, 漢字, 🙂", "plain, with accents: é, 漢字, 🙂"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\0\x07\x1b[31mred\x7f\x85\x9b", r"\x00\x07\x1b[31mred\x7f\x85\x9b"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\u202egnp.exe\u2066\u200f", r"\u202egnp.exe\u2066\u200f"),
        ("\udc80 \U000e0001", r"\udc80 \U000e0001"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, escaped: str) -> None:
    """Controls, line separators, marks of direction, halves of characters, tags."""
    assert printable(text) == escaped


@hypothesis.given(st.text())
def test_escaped_text_is_printable_and_one_line(text: str) -> None:
    """Whatever it is."""
    assert printable(text).isprintable()
    printable(text).encode()


@hypothesis.given(st.text(alphabet=st.sampled_from("\n\r\x0b\x0c\x1c\x85\u2028x2 \0")))
def test_record_has_one_line_that_looks_like_one(text: str) -> None:
    """Any line separator of Python's within it, or of a terminal's, begins no other record."""
    first, *others = formatted("%s", text + "\n" + FORGED).split("\n")
    assert first[0].isdigit()
    assert all(line.startswith(INDENT) and line.isprintable() for line in others)
    assert others[-1].endswith(FORGED) or FORGED in first


def test_traceback_is_indented_and_leaves_the_record_alone() -> None:
    """Its text is not kept in the record, as logging's own formatter does."""
    try:
        raise ValueError(f"deliberate\n{FORGED}\x1b[2J")
    except ValueError:
        info = sys.exc_info()
    made = record("oops", exc_info=info, stack_info="Stack (most recent call last):\n  x")
    lines = RecordFormatter().format(made).split("\n")
    assert lines[0].endswith(" WARNING oops")
    assert lines[1] == f"{INDENT}Traceback (most recent call last):"
    assert f"{INDENT}ValueError: deliberate" in lines
    assert f"{INDENT}{FORGED}\\x1b[2J" in lines
    assert lines[-2:] == [f"{INDENT}Stack (most recent call last):", f"{INDENT}  x"]
    assert made.exc_text is None
    assert "of somebody" in formatted("oops", exc_text="text of somebody")


@pytest.mark.parametrize("unit", ["x", "\0", "\U000e0001", "\n"])
@pytest.mark.parametrize("repeats", [MOST_CHARACTERS, 1_000_000])
def test_long_text_keeps_its_ends(unit: str, repeats: int) -> None:
    """The beginning says what it is, the end which exception; between them is how much is gone."""
    text = formatted("begins %s ends", unit * repeats)
    assert len(text) < MOST_CHARACTERS + 200
    assert " WARNING begins " in text
    assert text.endswith(" ends")
    assert " more characters ... " in text


def test_shortened_text_says_how_much_is_left_out() -> None:
    """Exactly; and nothing of what fits."""
    assert shorten_to("x" * 100, 100, 25) == "x" * 100
    assert shorten_to("a" * 75 + "b" * 50 + "c" * 25, 100, 25) == (
        "a" * 75 + " ... 50 more characters ... " + "c" * 25
    )


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (("127.0.0.1", 5000), "127.0.0.1:5000"),
        (("::1", 5000, 0, 0), "[::1]:5000"),
        ("/run/peer", "unix:'/run/peer'"),
        (f"x\n{FORGED}\x1b", f"unix:'x\\n{FORGED}\\x1b'"),
        (b"\0name\n", r"unix:b'\x00name\n'"),
        ("", "unnamed peer"),
        (None, "unnamed peer"),
    ],
)
def test_peer_is_named_without_what_it_chose_to_do(address: object, name: str) -> None:
    """Embedders, whose logging escapes nothing, get one line too."""
    assert name_of_peer(address) == name


def test_one_line_has_neither_line_ends_nor_escapes() -> None:
    """Nor blanks at its ends."""
    assert one_line("  a\n b\t\x1b[2J ") == r"a b \x1b[2J"
