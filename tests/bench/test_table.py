"""table: what people read."""

import pytest

pytest.importorskip("hdrh")

from asyncrev.bench.comparison import Ratio
from asyncrev.bench.measurement import Outcome
from asyncrev.bench.table import as_text, shown_bytes, shown_us
from asyncrev.bench.thresholds import parse_threshold
from tests.bench.made import figures


def test_table_has_all_figures() -> None:
    """With units."""
    text = as_text(figures())
    for words in ("rate          1,000 messages/s", "  p99.9", "closed loop", "errors        none"):
        assert words in text
    assert "25 % of a core" in text


def test_table_says_what_went_wrong() -> None:
    """Errors by kind, messages never sent, broken limits, another run's settings."""
    made = figures(
        outcome=Outcome(errors={"reset": 2, "closed": 1}, unsent=7, cores=[0.5]),
        rate_per_s=5000.0,
        lags={100: 5},
    )
    text = as_text(
        made,
        [parse_threshold("p99<1us"), parse_threshold("rate>1")],
        [Ratio("rate", 1.5, 1.4, 1.6), Ratio("p99", 0.9, None, None)],
        ["size_bytes 64 and 128"],
    )
    for words in (
        "closed 1, reset 2",
        "never sent    7 messages were due",
        "open loop, 5,000 messages/s asked for",
        "p99<1us: BROKEN",
        "rate>1: kept, 1000",
        "1.500 (1.400 to 1.600), faster",
        "0.900, too few intervals",
        "other settings: size_bytes 64 and 128",
        "sent late, p99: 10.0 us",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (1 << 30, "1.0 GiB"),
        (1 << 50, "1024.0 TiB"),
    ],
)
def test_bytes_have_units(nbytes: int, text: str) -> None:
    """Of 1024 each."""
    assert shown_bytes(nbytes) == text


@pytest.mark.parametrize(
    ("us", "text"), [(12.34, "12.3 us"), (999, "999 us"), (1234, "1.23 ms"), (2.5e6, "2.5 s")]
)
def test_times_have_units(us: float, text: str) -> None:
    """Three digits."""
    assert shown_us(us) == text
