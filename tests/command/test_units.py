"""units: bytes and seconds as people write them, exactly, and back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrev.command.units import format_bytes, format_seconds, parse_bytes, parse_seconds


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("0", 0),
        ("65536", 65536),
        ("64_000", 64_000),
        ("-5", -5),
        ("12b", 12),
        ("64K", 65536),
        ("64k", 65536),
        ("64KiB", 65536),
        ("64kib", 65536),
        ("64 KiB ", 65536),
        ("64kB", 64_000),
        ("64KB", 64_000),
        ("1MiB", 1 << 20),
        ("1.5M", 3 << 19),
        ("0.5K", 512),
        ("1GB", 10**9),
        ("2g", 2 << 30),
        ("1TiB", 1 << 40),
    ],
)
def test_bytes_are_read_as_written(text: str, nbytes: int) -> None:
    """With the units of GNU coreutils, in any case of letters."""
    assert parse_bytes(text) == nbytes


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "K",
        "x",
        "64X",
        "64KiBs",
        "64iB",
        "1e6",
        "1,5M",
        "0x10",
        "inf",
        "nan",
        "1 2",
        "٣",
        "9" * 99,
    ],
)
def test_what_is_no_number_of_bytes_is_told_with_the_forms(text: str) -> None:
    """The message has the text and what is taken."""
    with pytest.raises(ValueError, match="is not a number of bytes; give bytes as 65536, 64K") as e:
        parse_bytes(text)
    assert str(e.value).startswith(repr(text))


@pytest.mark.parametrize("text", ["0.5", "1.0001K", "1.5b"])
def test_part_of_a_byte_is_refused(text: str) -> None:
    """Nobody means it."""
    with pytest.raises(ValueError, match="give a whole number of them"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30.0),
        ("0.5", 0.5),
        ("1e3", 1000.0),
        ("-1", -1.0),
        ("inf", math.inf),
        ("500ms", 0.5),
        ("250us", 0.00025),
        ("30s", 30.0),
        ("5m", 300.0),
        ("5min", 300.0),
        ("2h", 7200.0),
        ("1d", 86_400.0),
        ("1.5h", 5400.0),
        ("1h30m", 5400.0),
        ("1h 30m 5s", 5405.0),
        (" 5 M ", 300.0),
    ],
)
def test_seconds_are_read_as_written(text: str, seconds: float) -> None:
    """Plain numbers are seconds; units may be put together."""
    assert parse_seconds(text) == seconds


def test_nan_is_left_to_whoever_checks_the_range() -> None:
    """As every other number is."""
    assert math.isnan(parse_seconds("nan"))


@pytest.mark.parametrize(
    "text", ["", "s", "5x", "5 5m", "5m5", "m5", "1:30", "5 years", "-5m", "٣s"]
)
def test_what_is_no_time_is_told_with_the_forms(text: str) -> None:
    """The message has the text and what is taken."""
    with pytest.raises(ValueError, match=r"is not a time; give seconds as 30 or 0.5, or with") as e:
        parse_seconds(text)
    assert str(e.value).startswith(repr(text))


@given(st.integers(0, 1 << 62) | st.integers(0, 1 << 20).map(lambda n: n << 20))
def test_formatted_bytes_are_read_as_the_same(nbytes: int) -> None:
    """The help shows what an option takes."""
    assert parse_bytes(format_bytes(nbytes)) == nbytes


@given(st.floats(0, 1e12) | st.integers(0, 1 << 30).map(lambda n: n / 1000))
def test_formatted_seconds_are_read_as_the_same(seconds: float) -> None:
    """To the last bit."""
    assert parse_seconds(format_seconds(seconds)) == seconds


@given(st.integers(0, 10**9), st.sampled_from(["K", "M", "G", "T"]))
def test_binary_units_are_powers_of_1024_and_decimal_ones_of_1000(number: int, unit: str) -> None:
    """Long and short, in steps."""
    power = "KMGT".index(unit) + 1
    assert (
        parse_bytes(f"{number}{unit}") == parse_bytes(f"{number}{unit}iB") == number * 1024**power
    )
    assert parse_bytes(f"{number}{unit}B") == number * 1000**power


@given(st.text(max_size=20))
def test_any_text_is_a_number_or_a_value_error(text: str) -> None:
    """Nothing else is raised, whatever somebody writes."""
    for parse in (parse_bytes, parse_seconds):
        try:
            assert isinstance(parse(text), (int, float))
        except ValueError:
            pass


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0"), (1000, "1000"), (4096, "4KiB"), (1 << 26, "64MiB"), (3 << 29, "1536MiB")],
)
def test_bytes_are_shown_short(nbytes: int, text: str) -> None:
    """In the largest unit that needs no point."""
    assert format_bytes(nbytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(300.0, "5m"), (30.0, "30s"), (0.5, "500ms"), (90.0, "90s"), (0.0, "0.0"), (math.inf, "inf")],
)
def test_seconds_are_shown_short(seconds: float, text: str) -> None:
    """In the largest unit that needs no point."""
    assert format_seconds(seconds) == text
