"""doctor_cli: lines or JSON, and the worst level as the exit code."""

import json

import pytest

from asyncrev.command import doctor
from asyncrev.command.doctor import ERROR, OK, WARNING, Finding
from tests.command_line import invoke
from tests.support import run_asyncrev


@pytest.mark.parametrize(
    ("levels", "code"),
    [((OK, OK), 0), ((OK, WARNING), 1), ((WARNING, ERROR, OK), 2)],
)
def test_exit_code_is_the_worst_level(
    levels: tuple[str, ...], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both forms."""
    some = [Finding("memory", level, "a\nb", "" if level == OK else "do it") for level in levels]
    monkeypatch.setattr(doctor, "findings", lambda _: iter(some))
    result = invoke("doctor")
    assert result.exit_code == code
    lines = [line for line in result.stdout.splitlines() if "fix:" not in line]
    assert [line.split()[0] for line in lines] == list(levels)
    assert result.stdout.count("fix: do it") == len([one for one in levels if one != OK])
    result = invoke("doctor", "--json")
    assert result.exit_code == code
    parsed = json.loads(result.stdout)
    assert [one["level"] for one in parsed["checks"]] == list(levels)
    assert parsed["level"] == (OK, WARNING, ERROR)[code]


def test_as_a_process_with_mistakes_of_two_kinds() -> None:
    """A value that is none and a module that is none; no traceback."""
    run = run_asyncrev("doctor", "--slots", "x", "--processor", "nowhere:y")
    assert (run.returncode, run.stderr) == (2, "")
    errors = [line for line in run.stdout.splitlines() if line.startswith("error")]
    assert len(errors) == 2
    assert "--slots" in errors[0]
    assert "nowhere" in errors[1]


def test_option_that_is_none_is_usage() -> None:
    """In one line, as for `serve`."""
    result = invoke("doctor", "--nonsense")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
