"""Generator of docs/options.md, the reference of the options, from the table.

Run `python -m asyncrev.command.options_page > docs/options.md` to update the page.
"""

import textwrap
from collections.abc import Iterator

from asyncrev.command.option import GROUP_NOTES, GROUPS, Option, Said
from asyncrev.command.options import OPTIONS

__all__ = ["options_page"]

_HEAD = """\
---
orphan: true
---

# Options of `asyncrev serve`

"""
_INTRODUCTION = (
    "`asyncrev serve --help` has these in short. Each option can also be set by the environment "
    "variable that is named with it, or in a [configuration file](howto/configure.md), in the "
    "table that is named with it. A flag takes precedence over a variable, and a variable over the "
    "file. A variable `ASYNCREV_…` that belongs to no option is ignored, with a warning that names "
    "the nearest one. The start line has the values that the server runs with, as `name=value`. "
    "This page is made from the table of options in `asyncrev/command/options.py`."
)

_COLUMNS = 118


def options_page() -> str:
    """Return the page as Markdown."""
    return f"{_HEAD}{_wrapped(_INTRODUCTION)}\n" + "".join(_section(group) for group in GROUPS)


def _section(group: str) -> str:
    rows = [option for option in OPTIONS if option.group == group]
    note = f"\n{_wrapped(GROUP_NOTES[group])}\n" if group in GROUP_NOTES else ""
    entries = "".join(f"\n### `{row.flag}`\n\n{_entry(row)}" for row in rows)
    return f"\n## {group}\n{note}{entries}"


def _entry(row: Option) -> str:
    return f"{_wrapped(row.help)}\n\n{_wrapped(' '.join(_facts(row)))}\n"


def _facts(row: Option) -> Iterator[str]:
    default = row.follows or ("none" if row.default is None else f"`{row.default}`")
    where = f"; in a file: `{row.name}` of `[{row.table}]`" if row.table else ""
    yield f"Value: `{row.placeholder}`; default: {default}; variable: `{row.variable}`{where}."
    if row.repeatable:
        between = row.type.envvar_list_splitter
        yield f"Can be repeated; in the variable, `{between}` stands between two values."
    if row.limit:
        yield f"Sets `Limits.{row.limit}`."
    if row.excludes:
        yield f"Excludes, of the same source, {', '.join(f'`--{name}`' for name in row.excludes)}."
    if row.needs:
        yield f"Needs `--{row.needs.replace('_', '-')}`."
    if row.said is not Said.NEVER:
        yield f"In the start line: {row.said.value}."


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _COLUMNS, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    print(options_page(), end="")
