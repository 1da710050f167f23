"""docs/proof.md agrees with the code."""

import re

from tests.mutants.seeded import BUGS as SEEDED
from tests.mutants.seeded_c import C_BUGS
from tests.proof.test_exploration import BRIDGES, CHANNELS, PIPES, PLANES, SUBMISSIONS
from tests.proof.test_outcomes import BUGS
from tests.proof.test_pending_exploration import PENDING
from tests.proof.test_tls_exploration import TLS
from tests.support import ROOT
from tests.unit.test_models import prove

PAGE = (ROOT / "docs" / "proof.md").read_text(encoding="utf-8")
OUTCOMES = re.findall(r"^\| ([A-Z_]+) \|", PAGE, re.MULTILINE)


def test_page_has_every_outcome_that_is_checked_and_no_other() -> None:
    """By the names that `forbid` is called with, and those for which there is a bug."""
    checked = set()
    for path in (ROOT / "tests" / "proof").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        checked |= set(re.findall(r'(?:forbid\(|_failure = \()\s*"([A-Z_]+)"', text))
    assert sorted(checked) == sorted(OUTCOMES)
    assert {what for what, *_ in BUGS} == set(OUTCOMES)


def test_every_test_that_the_page_names_exists() -> None:
    """In whatever module."""
    defined = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/*.py"))
    names = set(re.findall(r"`((?:test_|Test)\w+)`", PAGE))
    assert len(names) > 20
    for name in names:
        assert re.search(rf"(def|class) {name}\b", defined), name


def test_page_knows_how_many_seeded_bugs_there_are() -> None:
    """Those of the models, and those of `make mutants`."""
    for model in prove.MODELS:
        row = rf"^\| \[{model.name}\].* \| {len(model.sizes)} \| {len(model.bugs)} \|$"
        assert re.search(row, PAGE, re.MULTILINE), model.name
    assert f"builds {len(SEEDED)} bugs" in PAGE
    assert f"{len(C_BUGS)} bugs in C" in PAGE


def test_page_tells_how_far_each_scenario_is_explored() -> None:
    """The names and bounds of all tables, in their order."""
    table = PAGE[PAGE.index("| scenario |") : PAGE.index("## Models")]
    told = re.findall(r"^\| (\w+: [^|]+) \|.* \| (\d) \| (\d) \|$", table, re.MULTILINE)
    kinds = {
        "pipe": PIPES,
        "plane": PLANES,
        "bridge": BRIDGES,
        "channel": CHANNELS,
        "submissions": SUBMISSIONS,
        "tls": TLS,
        "pending": PENDING,
    }
    explored = [
        (f"{kind}: {name}", str(fast), str(slow))
        for kind, scenarios in kinds.items()
        for name, (_, fast, slow) in scenarios.items()
    ]
    assert told == explored
