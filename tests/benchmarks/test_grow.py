"""The benchmark of one process and two, behind HAProxy and direct: a short run, and its table."""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks import grow
from benchmarks.build import have_compiler

SHORT = ("--rounds", "1", "--seconds", "0.2", "--connections", "4", "--work", "light")

needs_its_programs = pytest.mark.skipif(
    not have_compiler() or shutil.which("haproxy") is None, reason="no gcc, or no haproxy"
)


@pytest.mark.process
@needs_its_programs
def test_short_run_measures_each_layout(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """HAProxy's CPU time is that of the layouts behind it."""
    assert grow.main([*SHORT, "--json", str(tmp_path / "rounds")]) == 0
    assert capsys.readouterr().out.startswith("light, 1 rounds\n")
    ((of_round,),) = json.loads((tmp_path / "rounds").read_text(encoding="ascii")).values()
    assert set(of_round) == set(grow.LAYOUTS)
    for name, result in of_round.items():
        assert 0 < result["p50_us"] <= result["p99_us"]
        assert result["per_s"] > 0
        assert (result["balancer_us"] > 0) is name.startswith("haproxy")


@pytest.mark.process
@needs_its_programs
def test_wrong_reply_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no figures are printed."""
    monkeypatch.setitem(grow.WORK, "light", "tests.process.processors:shouted")
    with pytest.raises(SystemExit, match="a reply was wrong, or did not come"):
        grow.main([*SHORT])


def test_table_has_medians_and_ratios_within_rounds() -> None:
    """A round in which all was slow does not change a ratio."""
    result = {"p50_us": 1.0, "p99_us": 2.0, "balancer_us": 0.0}
    rounds = [
        {
            name: {**result, "per_s": speed * (number + 1)}
            for number, name in enumerate(grow.LAYOUTS)
        }
        for speed in (1000.0, 10.0, 2000.0)
    ]
    text = grow.table("light", rounds)
    assert "| two | 2,000.0 | 1.0 | 2.0 | 0.0 |" in text
    assert "two / one: 2.00 (2.00 to 2.00)" in text
    assert "haproxy-two / haproxy-one: 1.25 (1.25 to 1.25)" in text
