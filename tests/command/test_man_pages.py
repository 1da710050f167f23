"""man_pages: pages that roff takes without a warning, with every option, and kept current."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from asyncrev.command.cli import main
from asyncrev.command.man_pages import man_page, man_pages, shared_files
from asyncrev.command.options import OPTIONS
from tests.support import ROOT

SHARE = ROOT / "packaging" / "share"
PAGES = man_pages(main)


@pytest.mark.parametrize("name", sorted(PAGES))
def test_page_in_the_tree_is_current(name: str) -> None:
    """`python -m asyncrev.command.man_pages packaging/share` updates it."""
    assert (SHARE / "man" / "man1" / f"{name}.1").read_text(encoding="utf-8") == PAGES[name]


def test_tree_has_these_files_and_no_others() -> None:
    """The texts of completion scripts are click's, and differ between its versions."""
    found = {str(path.relative_to(SHARE)) for path in SHARE.rglob("*") if path.is_file()}
    assert found == set(shared_files(main))


def rendered(page: Path | str) -> str:
    """Return what groff makes of a page; fail if it warns."""
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is not installed")
    text = page if isinstance(page, str) else page.read_text(encoding="utf-8")
    run = subprocess.run(
        [groff, "-man", "-ww", "-Tascii", "-P-cbou"],
        input=text,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == ""
    return run.stdout


@pytest.mark.parametrize("name", sorted(PAGES))
def test_groff_warns_of_nothing(name: str) -> None:
    """And the page has the sections that man(7) asks for."""
    text = rendered(PAGES[name])
    for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"):
        assert re.search(rf"^{section}$", text, re.MULTILINE)
    assert f" {name} - " in " ".join(text.split())


def test_serve_has_every_option_with_its_help() -> None:
    """Under the headings of the table."""
    text = " ".join(rendered(PAGES["asyncrev-serve"]).replace("-\n", "-").split())
    for option in OPTIONS:
        assert f" {option.flag} " in text


def test_text_that_roff_would_interpret() -> None:
    """Leading dots, backslashes, quotes, hyphens and tildes come out as they are."""
    said = r".so ~/it's `-x` \n ^a"
    command = click.Command("x", help=f"Do it.\n\n{said}\n\n\b\n'br\n.br", params=[])
    text = rendered(man_page("asyncrev-x", command, ["asyncrev"]))
    assert said in text
    assert "       'br\n       .br\n" in text


def test_commands_are_not_changed_by_it() -> None:
    """click keeps the help option of a command's first context."""
    code = (
        "from asyncrev.command.cli import main; from asyncrev.command.man_pages import man_pages; "
        "man_pages(main); main(['send', '-h'])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--expect" in run.stdout
