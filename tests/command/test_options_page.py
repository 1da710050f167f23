"""options_page: docs/options.md is what the table says."""

import re

from asyncrev.command.option import GROUPS
from asyncrev.command.options import OPTIONS
from asyncrev.command.options_page import options_page
from tests.support import ROOT


def test_page_in_the_repository_is_that_of_the_table() -> None:
    """To write it anew: python -m asyncrev.command.options_page > docs/options.md."""
    assert (ROOT / "docs" / "options.md").read_text(encoding="utf-8") == options_page()


def test_page_has_every_row_under_its_group() -> None:
    """With its variable."""
    page = options_page()
    assert re.findall(r"^## (.+)$", page, re.M) == list(GROUPS)
    for row in OPTIONS:
        section = page.split(f"\n### `{row.flag}`\n")[1].split("\n##")[0]
        place = f"; in a file: `{row.name}` of `[{row.table}]`" if row.table else ""
        assert f"variable: `{row.variable}`{place}." in " ".join(section.split())
        assert (
            "Can be repeated; in the variable, `" in " ".join(section.split())
        ) is row.repeatable
        under = page.split(f"\n## {row.group}\n")[1].split("\n## ")[0]
        assert f"\n### `{row.flag}`\n" in under
