"""top_screen: a screen has the tables, in colours, and never more lines than there are."""

import re

import pytest

pytest.importorskip("rich")

from asyncrev.command.top_screen import MOST_ROWS_BESIDE, screen
from asyncrev.command.top_tables import Column, Table

WORKERS = Table((Column("worker", False), Column("n")), (("0", "1"), ("1", "2")), frozenset({1}))


def shown(rows: int = 3, width: int = 70, height: int = 40, problem: str = "") -> str:
    peers = Table((Column("peer", False), Column("in")), tuple((f"p{n}", "9") for n in range(rows)))
    return screen(
        "asyncrev 1 here",
        WORKERS,
        "none",
        peers,
        sort="age",
        problem=problem,
        width=width,
        height=height,
    )


def plain(text: str) -> list[str]:
    return re.sub(r"\x1b\[[\d;]*m", "", text).split("\n")


def test_screen_has_everything_and_the_keys() -> None:
    """The sort that is used is named."""
    lines = plain(shown(problem="no server listens there"))
    assert lines[0].startswith("asyncrev 1 here")
    assert lines[1].startswith("no server listens there")
    assert [line.split() for line in lines[2:5]] == [["worker", "n"], ["0", "1"], ["1", "2"]]
    assert "connections, by connected longest" in [line.strip() for line in lines]
    assert [line.strip() for line in lines if line.startswith("p")] == [
        "peer  in",
        *[f"p{n}     9" for n in range(3)],
    ]
    assert lines[-1].startswith("sort by: c connected longest   b bytes   i in flight   q quit")
    assert len(lines) == MOST_ROWS_BESIDE + 2 + 3


def test_row_to_look_at_stands_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one does not; in bold alone where NO_COLOR is set, which rich heeds."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    (good,) = [line for line in shown().split("\n") if "0" in plain(line)[0].split()[:1]]
    (bad,) = [line for line in shown().split("\n") if "1" in plain(line)[0].split()[:1]]
    assert "\x1b[1;31m" in bad
    assert "\x1b[1;31m" not in good


@pytest.mark.parametrize("height", [5, 10, 24])
@pytest.mark.parametrize("width", [10, 40, 200])
def test_screen_fits(width: int, height: int) -> None:
    """Whatever the size, nothing scrolls or wraps; the keys stay."""
    lines = plain(shown(rows=100, width=width, height=height, problem="long " * 100))
    assert len(lines) <= height
    assert max(len(line) for line in lines) <= width
    assert lines[-1].startswith("sort by")


def test_text_of_others_is_no_markup() -> None:
    """Neither rich's nor an emoji's."""
    table = Table((Column("peer", False),), (("[red]x[/red] :smile:",),))
    text = screen("t", WORKERS, "[b]", table, sort="age", problem="", width=80, height=30)
    assert any("[red]x[/red] :smile:" in line for line in plain(text))
