"""comparison: ratios, their spread, and files that are none of ours."""

import json
import random
from pathlib import Path

import pytest

pytest.importorskip("hdrh")

from asyncrev.bench.comparison import compared, differing_settings, read_saved
from asyncrev.errors import SettingsError
from tests.bench.made import figures


def noisy(mean: int, seed: int) -> list[int]:
    source = random.Random(seed)
    return [int(source.gauss(mean, mean / 20)) for _ in range(10)]


def test_same_runs_show_no_difference() -> None:
    """The spread has 1 in it."""
    (rate, *_) = compared(figures(noisy(1000, 1)), figures(noisy(1000, 2)).as_dict())
    assert rate.name == "rate"
    assert rate.low is not None
    assert rate.high is not None
    assert rate.low < 1 < rate.high
    assert rate.verdict == "no difference seen"


def test_a_faster_run_is_seen() -> None:
    """And a slower one, with the ratio."""
    ratios = compared(figures(noisy(1300, 1), latency_units=500), figures(noisy(1000, 2)).as_dict())
    found = {one.name: one for one in ratios}
    assert found["rate"].ratio == pytest.approx(1.3, rel=0.1)
    assert found["rate"].verdict == "faster"
    assert found["p50"].ratio == pytest.approx(0.5, rel=0.01)
    assert found["p50"].verdict == "shorter"
    assert found["rate"].as_dict()["spread"][0] > 1
    (slower, *_) = compared(figures(noisy(700, 1)), figures(noisy(1000, 2)).as_dict())
    assert slower.verdict == "slower"


def test_two_intervals_have_no_spread() -> None:
    """It says so."""
    (rate, *_) = compared(figures([1000, 1000]), figures([900, 900]).as_dict())
    assert (rate.low, rate.high) == (None, None)
    assert rate.verdict == "too few intervals for a spread"
    assert rate.as_dict()["spread"] is None


def test_runs_without_messages_have_no_ratio() -> None:
    """Nothing is divided by nothing."""
    assert compared(figures([0, 0, 0]), figures().as_dict()) == []


def test_other_settings_are_named() -> None:
    """But not another address."""
    made = figures(size_bytes=128, port=1)
    assert differing_settings(made, figures().as_dict()) == ["size_bytes 64 and 128"]


def test_saved_file_is_read_again(tmp_path: Path) -> None:
    """Whole."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps(figures().as_dict()))
    assert read_saved(str(path)) == figures().as_dict()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "No such file"),
        ("{", "is no JSON"),
        ("[]", "its format is 'list'"),
        ('{"format": 2}', "its format is 2, and must be 1"),
        ('{"format": 1}', "a field is missing"),
        ('{"format": 1, "intervals": [{"messages_per_s": NaN}]}', "no finite number"),
        ('{"format": 1, "intervals": 5}', "a field is missing or wrong"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str | None, words: str) -> None:
    """In words."""
    path = tmp_path / "a.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_saved(str(path))
    assert words in str(caught.value)
