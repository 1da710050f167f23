"""log_json: one object per line, whatever is logged; bounded, valid, and not to be forged."""

import json
import logging
import math
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.command.log_json import JsonFormatter, error_line, json_line, rfc3339
from asyncrev.log_text import MOST_CHARACTERS


def record(msg: object, *args: object, level: int = logging.INFO, **extra: Any) -> Any:
    """Return a record of the logger "asyncrev" with further attributes."""
    made = logging.LogRecord("asyncrev", level, __file__, 1, msg, args, None)
    made.__dict__.update(extra)
    return made


def parsed(made: logging.LogRecord) -> dict[str, Any]:
    """Return the one object that the record became."""
    line = JsonFormatter().format(made)
    assert line.isprintable()
    fields: dict[str, Any] = json.loads(line, parse_constant=pytest.fail)
    return fields


def test_every_record_has_the_same_fields() -> None:
    """In the order of the table in the docs, time first."""
    made = record("%s: %d", "x", 3, created=1_790_000_000.0129, process=7, threadName="t")
    assert list(parsed(made).items()) == [
        ("ts", "2026-09-21T14:13:20.012Z"),
        ("level", "INFO"),
        ("logger", "asyncrev"),
        ("message", "x: 3"),
        ("pid", 7),
        ("thread", "t"),
    ]


def test_record_of_a_worker_has_its_name() -> None:
    """Which no field of the record replaces."""
    made = record("x", fields={"worker": "forged"})
    assert json.loads(JsonFormatter("2").format(made))["worker"] == "2"


@pytest.mark.parametrize(
    ("unix_s", "text"),
    [(0.0, "1970-01-01T00:00:00.000Z"), (951_782_400.9999, "2000-02-29T00:00:00.999Z")],
)
def test_time_is_utc_with_milliseconds(unix_s: float, text: str) -> None:
    """Milliseconds are always there, and cut rather than rounded into the next second."""
    assert rfc3339(unix_s) == text


def test_traceback_is_one_field() -> None:
    """With its lines; a stack is another."""
    try:
        raise ValueError("deliberate")
    except ValueError:
        made = record("it failed", exc_info=sys.exc_info(), stack_info="Stack (most recent):\n  x")
    fields = parsed(made)
    assert fields["message"] == "it failed"
    lines = fields["traceback"].split("\n")
    assert (lines[0], lines[-1]) == (
        "Traceback (most recent call last):",
        "ValueError: deliberate",
    )
    assert fields["stack"] == "Stack (most recent):\n  x"


def test_fields_of_a_record_are_added() -> None:
    """Its own, and those by which ends of connections are told."""
    made = record("x", reason="closed: idle deadline", peer="a:1", fields={"n": 1, "of": [1, "b"]})
    fields = parsed(made)
    assert (fields["reason"], fields["peer"]) == ("closed: idle deadline", "a:1")
    assert (fields["n"], fields["of"]) == (1, [1, "b"])


def test_fields_cannot_replace_those_that_every_record_has() -> None:
    """Nor can a name that is only the same once it is text."""

    class Level:
        def __str__(self) -> str:
            return "level"

    fields = parsed(record("x", fields={"ts": 1, Level(): "forged", "message": "forged"}))
    assert (fields["level"], fields["message"]) == ("INFO", "x")
    assert fields["ts"] != 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (math.inf, "inf"),
        (math.nan, "nan"),
        (True, True),
        (None, None),
        (1.5, 1.5),
        (2**63 - 1, 2**63 - 1),
        (2**64, "0x10000000000000000"),
        (b"\xff", "b'\\xff'"),
        ({1: (2, {3})}, {"1": [2, "{3}"]}),
        (logging.Formatter, "<class 'logging.Formatter'>"),
        ("\udc80\x1b[31m\u202e", "\\udc80\\x1b[31m\\u202e"),
    ],
)
def test_values_that_json_does_not_have_are_text(value: object, shown: object) -> None:
    """JSON has no infinity, and not every program reads a larger number than 64 bits."""
    assert json.loads(json_line({"x": value})) == {"x": shown}


def test_too_large_fields_are_left_out_and_counted() -> None:
    """The record itself stays."""
    fields = parsed(record("kept", fields={f"f{n}": "x" * 1000 for n in range(100)}))
    assert fields["message"] == "kept"
    assert "f0" not in fields
    assert fields["fields_left_out_bytes"] > 100_000


def test_endless_nesting_ends() -> None:
    """A list that contains itself is text from some depth on."""
    knot: list[object] = []
    knot.append(knot)
    assert parsed(record("x", fields={"knot": knot}))["knot"] == [[[["[[...]]"]]]]


@pytest.mark.parametrize("field", ["message", "traceback", "peer"])
def test_long_text_is_shortened_in_its_middle(field: str) -> None:
    """Both ends of it stay, and the number of characters between."""
    text = "begin" + "\0" * 1_000_000 + "end"
    extra = {"message": {}, "traceback": {"exc_text": text}, "peer": {"peer": text}}[field]
    fields = parsed(record(text if field == "message" else "x", **extra))
    assert len(fields[field]) < MOST_CHARACTERS + 100
    assert fields[field].startswith("begin\\x00")
    assert " more characters ... " in fields[field]
    assert fields[field].endswith("\\x00end")


def test_error_of_a_start_is_a_record() -> None:
    """As everything that follows a start."""
    fields = json.loads(error_line("no such thing"))
    assert (fields["level"], fields["message"]) == ("CRITICAL", "no such thing")


ANYTHING = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.binary(),
        st.text(st.characters(codec=None)),
    ),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)  # fmt: skip
NAMES = st.text(st.characters(codec=None), max_size=300)


@given(
    message=st.text(st.characters(codec=None)),
    name=NAMES,
    level=NAMES,
    thread=NAMES,
    fields=st.dictionaries(NAMES, ANYTHING, max_size=4),
    reason=ANYTHING,
    failure=st.none() | st.text(st.characters(codec=None)),
)
def test_any_record_is_one_line_of_valid_json(
    message: str, name: str, level: str, thread: str, fields: Any, reason: Any, failure: Any
) -> None:
    """UTF-8, printable, parsed strictly, and with the fields that every record has."""
    made = record("%s", message, fields=fields, reason=reason, exc_text=failure)
    made.name, made.levelname, made.threadName = name, level, thread
    line = JsonFormatter().format(made)
    assert line.isprintable()
    assert line.encode("utf-8", "strict").count(b"\n") == 0
    found = json.loads(line, parse_constant=pytest.fail)
    assert {"ts", "level", "logger", "message", "pid", "thread"} <= found.keys()
    assert len(line.encode()) < 200_000
    text = found["message"]
    assert all(part.isprintable() for part in text.split("\n"))
