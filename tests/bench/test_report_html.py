"""report_html: one file that asks for nothing, looked at in Chromium."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("hdrh")

from asyncrev.bench.comparison import Ratio
from asyncrev.bench.measurement import Outcome
from asyncrev.bench.report_html import html
from asyncrev.bench.thresholds import parse_threshold
from tests.bench.made import figures
from tests.chromium import PROGRAM, Tab, chromium

EVIL = "/<script>alert(1)</script>"


@pytest.fixture
def tab() -> Iterator[Tab]:
    if PROGRAM is None:
        pytest.skip("chromium is not installed")
    with chromium() as made:
        yield made


def page() -> str:
    made = figures(
        [900, 1000, 1100, 0, 1000],
        Outcome(errors={"reset": 2}, unsent=3, cores=[0.5]),
        path=EVIL,
        rate_per_s=1000.0,
        lags={20_000: 9},
    )
    limits = [parse_threshold("p99<1us"), parse_threshold("rate>1")]
    return html(made, limits, [Ratio("rate", 1.5, 1.4, 1.6), Ratio("p50", 1.0, None, None)])


def test_page_has_the_figures_and_escapes_what_it_was_given() -> None:
    """A path is text."""
    text = page()
    assert EVIL not in text
    assert "unix:/&lt;script&gt;" in text
    for words in ("There were errors: reset 2", "3 messages were due", "The client was", "broken"):
        assert words in text
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])  # type: ignore[index]
    assert data["rate"] == [[1, 2, 3, 4, 5], [900, 1000, 1100, 0, 1000]]
    assert data["latency"][1][3] is None  # nothing was answered then


def test_page_names_nothing_that_would_be_loaded() -> None:
    """Neither scripts nor styles, fonts or pictures."""
    found = re.findall(r'(?:src|href)="(?!data:,)[^"]*"|@import|url\(', page())
    assert found == []


# A plot has drawn something if its canvas has pixels that are not transparent.
INKED = """[...document.querySelectorAll('canvas')].map((canvas) => {
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let inked = 0;
  for (let at = 3; at < data.length; at += 4) inked += data[at] > 0;
  return inked;
})"""


@pytest.mark.process
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_page_is_drawn_at_any_width(tab: Tab, tmp_path: Path, scheme: str, width: int) -> None:
    """Without a complaint, a request or a need to scroll sideways."""
    path = tmp_path / "report.html"
    path.write_text(page())
    tab.scheme(scheme)
    tab.size(width, 900, is_phone=width < 500)
    tab.go(path.as_uri())
    tab.until("document.documentElement.dataset.plots == '3'")
    tab.until(f"Math.min(...{INKED}) > 500")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    back = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert back == ("rgb(15, 20, 24)" if scheme == "dark" else "rgb(244, 246, 248)")
    assert tab.complaints == []
    assert tab.requested == [path.as_uri()]


@pytest.mark.process
def test_plots_follow_the_width(tab: Tab, tmp_path: Path) -> None:
    """As a telephone is turned."""
    path = tmp_path / "report.html"
    path.write_text(page())
    tab.size(1000, 800)
    tab.go(path.as_uri())
    width = "document.querySelector('.uplot').clientWidth"
    tab.until(f"document.documentElement.dataset.plots == '3' && {width} > 600")
    tab.size(400, 800)
    tab.until(f"{width} < 400")


def test_run_without_a_reply_has_a_page() -> None:
    """Its plots are empty."""
    text = html(figures([0, 0]))
    assert '"percentiles": [[], []]' in text
