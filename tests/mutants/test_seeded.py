"""The table of seeded bugs fits the code, and the tests find every one."""

import pathlib
import re

import pytest

from tests.mutants.run import ROOT, can_build, main, with_bug
from tests.mutants.seeded import BUGS, Bug
from tests.mutants.seeded_c import C_BUGS
from tests.mutants.seeded_pending import PENDING_BUGS
from tests.mutants.seeded_supervisor import SUPERVISOR_BUGS

bugs = pytest.mark.parametrize(
    "bug", [*BUGS, *PENDING_BUGS, *SUPERVISOR_BUGS, *C_BUGS], ids=lambda bug: bug.name
)


def source_of(bug: Bug) -> pathlib.Path:
    """Return the file that a bug changes."""
    return ROOT / bug.path


@bugs
def test_seeded_bug_fits_the_code(bug: Bug) -> None:
    """Its text is there once, what comes of it is another module that compiles.

    Whether C code does is seen when it is built.
    """
    text = source_of(bug).read_text(encoding="utf-8")
    changed = with_bug(text, bug)
    assert changed != text
    if bug.suffix == ".py":
        compile(changed, str(source_of(bug)), "exec")


@bugs
def test_seeded_bug_names_tests_that_exist(bug: Bug) -> None:
    """A test that was renamed would fail for any reason but the bug."""
    assert bug.tests
    for test in bug.tests:
        path, _, name = test.partition("::")
        text = (ROOT / path).read_text(encoding="utf-8")
        assert not name or re.search(rf"(def|class) {name}\b", text), test


def test_seeded_bug_that_does_not_fit_is_refused() -> None:
    """Not there, or there twice: the number is told."""
    bug = Bug("name", "module", "old", "new", ())
    assert with_bug("old text", bug) == "new text"
    for text, times in (("text", 0), ("old and old", 2)):
        with pytest.raises(
            ValueError, match=f"name: its text is {times} times in asyncrev/module.py"
        ):
            with_bug(text, bug)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_every_seeded_bug_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    """`make mutants`, whose exit code says it all."""
    code = main([])
    said = capsys.readouterr().out
    assert code == 0, said
    number = len((*BUGS, *PENDING_BUGS, *SUPERVISOR_BUGS))
    number += len(C_BUGS) if can_build() else 0
    assert f"{number} of {number} seeded bugs were found" in said
