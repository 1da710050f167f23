"""loading: what MODULE:ATTR stands for, where it is searched for, and what a mistake is told."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncrev.command.loading import load
from asyncrev.errors import SettingsError
from asyncrev.work.reverse import Reverse
from tests.support import ROOT, run_asyncrev

WORK = "class Work:\n    @staticmethod\n    def shout(data): return data.upper()\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, as the console script finds it: not on the search path."""
    elsewhere = [path for path in sys.path if path and path != str(ROOT)]
    monkeypatch.setattr(sys, "path", elsewhere)
    monkeypatch.chdir(tmp_path)
    loaded = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - loaded:
        if getattr(sys.modules[name], "__file__", None) is None or str(tmp_path) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]


def refusal(name: str) -> str:
    """Return what is said of a name that cannot be loaded."""
    with pytest.raises(SettingsError) as caught:
        load(name)
    return str(caught.value)


def test_current_directory_is_searched_last(here: Path) -> None:
    """A processor is found there; whatever is installed comes first."""
    (here / "users_work.py").write_text(WORK)
    (here / "wave.py").write_text("Error = 'from the current directory'\n")
    assert load("users_work:Work.shout")(b"abc") == b"ABC"  # type: ignore[operator]
    assert sys.path[-1] == str(here)
    assert load("wave:Error") != "from the current directory"
    load("users_work:Work")
    assert sys.path.count(str(here)) == 1


def test_current_directory_is_not_searched_for_asyncrevs_own(here: Path) -> None:
    """The default processor brings no directory into the search path."""
    assert load("asyncrev:Reverse") is Reverse
    assert load("asyncrev.work.reverse:Reverse") is Reverse
    assert str(here) not in sys.path


def test_current_directory_that_was_removed_is_not_searched(here: Path) -> None:
    """The name is then looked for elsewhere, and what is wrong is told of the name."""
    gone = here / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    assert refusal("users_work:Work").endswith("No module named 'users_work'")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("work.py:Work", "for this file, work:Work"),
        ("./work.py:Work", "for this file, work:Work"),
        ("pkg/work.py:Work.shout", "for this file, pkg.work:Work.shout"),
        ("pkg/work:Work", "for this file, pkg.work:Work"),
        ("pkg/../work.py:Work", "for this file, work:Work"),
        ("work.py", "for this file, work:ATTR"),
        ("../app/work.py:Work", "in ../app that is work:Work"),
        ("/srv/app/work.py:Work", "in /srv/app that is work:Work"),
        ("pkg.work.Work", "perhaps pkg.work:Work"),
    ],
)
def test_file_name_is_answered_with_the_module_name(here: Path, name: str, meant: str) -> None:
    """What was probably meant, ready to be copied."""
    assert refusal(name) == f"--processor {name!r}: write it as module:attr; {meant}"


def test_absolute_path_below_the_current_directory_is_seen_as_such(here: Path) -> None:
    """As an editor's "copy path" gives it."""
    assert refusal(f"{here}/pkg/work.py:Work").endswith("for this file, pkg.work:Work")


@pytest.mark.parametrize("name", ["os", ":x", "x:", "", ":", ".x:y", "..x:y"])
def test_name_without_both_parts_is_refused(name: str) -> None:
    """There is nothing to suggest."""
    assert refusal(name) == f"--processor {name!r}: write it as module:attr"


@pytest.mark.parametrize(
    "raised", ["SystemExit(0)", "GeneratorExit()", "RuntimeError('no licence')", "BaseException()"]
)
def test_module_that_raises_is_told_by_what_it_raised(here: Path, raised: str) -> None:
    """Exceptions that are not Exception are no reason for a traceback; the line is named."""
    broken = here / "users_broken.py"
    broken.write_text(f"import os\nraise {raised}\n")
    assert refusal("users_broken:x") == (
        f"--processor 'users_broken:x': importing it raised {raised} ({broken}, line 2)"
    )


def test_module_that_lacks_another_one_is_not_taken_for_missing(here: Path) -> None:
    """Without the place it read as if the name on the command line were wrong."""
    work = here / "users_work.py"
    work.write_text("import no_such_library.part\n")
    assert refusal("users_work:x") == (
        "--processor 'users_work:x': importing it raised "
        f"""ModuleNotFoundError("No module named 'no_such_library'") ({work}, line 1)"""
    )
    work.write_text("from os import no_such_name\n")
    assert refusal("users_work:x").endswith(f"({work}, line 1)")
    for name in ("no_such_library.part:x", "no_such_library:x"):
        assert refusal(name) == f"--processor {name!r}: No module named 'no_such_library'"


def test_syntax_error_names_file_and_line(here: Path) -> None:
    """Not the tuple that such an error carries."""
    (here / "users_typo.py").write_text("x = 1\ndef f(:\n")
    assert refusal("users_typo:f") == (
        "--processor 'users_typo:f': importing it raised SyntaxError: invalid syntax "
        f"({here / 'users_typo.py'}, line 2)"
    )


def test_module_that_hides_the_users_file_is_named(here: Path) -> None:
    """`wave` is the standard library's; the user's file of that name cannot be reached."""
    (here / "wave.py").write_text(WORK)
    text = refusal("wave:Work")
    assert "has no attribute 'Work'; it is " in text
    assert "which comes before wave.py of the current directory: rename that file" in text
    (here / "users_work.py").write_text(WORK)
    assert "rename" not in refusal("users_work:Wrok")


@pytest.mark.process
@pytest.mark.parametrize(
    ("options", "variables"),
    [(["-P"], {}), ([], {"PYTHONSAFEPATH": "1"})],
    ids=["option", "variable"],
)
def test_safe_path_keeps_the_current_directory_out(
    tmp_path: Path, options: list[str], variables: dict[str, str]
) -> None:
    """With -P or PYTHONSAFEPATH; the message says why a file that is there is not found."""
    (tmp_path / "users_work.py").write_text("open('ran', 'w')\n" + WORK)
    done = subprocess.run(
        [
            sys.executable,
            *options,
            "-m",
            "asyncrev",
            "serve",
            "--processor",
            "users_work:Work.shout",
        ],
        cwd=tmp_path,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "is not searched because of -P or PYTHONSAFEPATH" in done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.process
def test_console_script_takes_no_module_from_the_current_directory(tmp_path: Path) -> None:
    """Neither the loop's nor one that a host name needs, even without PYTHONSAFEPATH."""
    for module in ("uvloop", "stringprep", "click", "numpy"):
        (tmp_path / f"{module}.py").write_text(f"open('ran_{module}', 'w')\nraise ImportError\n")
    script = (
        "import sys; sys.path = [path for path in sys.path if path]; sys.argv[0] = 'asyncrev'\n"
        "from asyncrev.__main__ import main; main()"
    )
    for args in (["--loop", "uvloop", "--slots", "0"], ["--host", "a..b"]):
        done = subprocess.run(
            [sys.executable, "-c", script, "serve", *args],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2, done.stderr
    assert [name for name in os.listdir(tmp_path) if name.startswith("ran_")] == []


@pytest.mark.process
def test_dash_m_takes_no_module_from_the_current_directory(tmp_path: Path) -> None:
    """Python puts that directory first there; a processor in it is found nevertheless."""
    for module in ("signal", "logging", "uvloop", "click", "numpy", "json"):
        (tmp_path / f"{module}.py").write_text(f"open('ran_{module}', 'w')\n")
    (tmp_path / "users_work.py").write_text(WORK)
    done = run_asyncrev("serve", "--processor", "users_work:none", cwd=tmp_path)
    assert done.stderr.endswith("module 'users_work' has no attribute 'none'\n")
    assert done.returncode == 2
    assert [name for name in os.listdir(tmp_path) if name.startswith("ran_")] == []


@pytest.mark.process
def test_dash_m_in_a_directory_that_was_removed_is_no_traceback(tmp_path: Path) -> None:
    """There is nothing to search then."""
    (tmp_path / "gone").mkdir()
    done = subprocess.run(
        ["sh", "-c", 'rmdir ../gone; exec "$0" -m asyncrev --version', sys.executable],
        cwd=tmp_path / "gone",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.process
def test_dash_m_keeps_what_pythonpath_names(tmp_path: Path) -> None:
    """Only what -m has put there is taken away."""
    (tmp_path / "users_work.py").write_text(
        "import os, sys\nraise SystemExit(sys.path.count(os.getcwd()))\n"
    )
    done = run_asyncrev(
        "serve", "--processor", "users_work:x",
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert "importing it raised SystemExit(1)" in done.stderr


@pytest.mark.process
def test_suggestion_reaches_the_command_line(tmp_path: Path) -> None:
    """As one line, with the usual exit code."""
    done = run_asyncrev("serve", "--processor", "work.py:Work", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "asyncrev: error: --processor 'work.py:Work': write it as module:attr; for this file, "
        "work:Work\n"
    )
