"""One screen of `asyncrev top`, in colours, made by rich."""

import io

from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from asyncrev.command.top_tables import GAP, SORTS, Table, fitted

__all__ = ["MOST_ROWS_BESIDE", "screen"]

# Lines of a screen beside the rows of workers and connections: titles, heads, blanks, and the help.
MOST_ROWS_BESIDE = 10


def screen(
    title: str,
    workers: Table,
    ended: str,
    connections: Table,
    *,
    sort: str,
    problem: str,
    width: int,
    height: int,
) -> str:
    """Return the lines of a screen of `width` columns and at most `height` lines.

    `problem`: what is wrong, or "". What does not fit is left out, so that nothing scrolls.
    """
    keys = "   ".join(f"{key} {text}" for key, (_, text) in SORTS.items())
    by = next(text for name, text in SORTS.values() if name == sort)
    first = Text(problem, style="bold red") if problem else Text("")
    parts: list[RenderableType] = [
        Text(title, style="bold"),
        first,
        _rich(fitted(workers, width)),
        Text(""),
        Text.assemble(("ended by the server: ", "dim"), ended),
        Text(""),
        Text.assemble(("connections, by ", "dim"), (by, "bold")),
        _rich(fitted(connections, width)),
    ]
    for part in parts:
        if isinstance(part, Text):
            part.no_wrap, part.overflow = True, "ellipsis"
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=True,
        highlight=False,
        legacy_windows=False,
    )
    with console.capture() as capture:
        console.print(Group(*parts), end="")
    lines = capture.get().rstrip("\n").split("\n")[: height - 2]
    with console.capture() as capture:
        console.print(
            f"sort by: {keys}   q quit", style="dim", no_wrap=True, overflow="ellipsis", end=""
        )
    return "\n".join([*lines, "", capture.get().rstrip("\n")])


def _rich(table: Table) -> RichTable:
    made = RichTable(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for column in table.columns:
        made.add_column(
            column.head,
            justify="right" if column.is_number else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    for number, row in enumerate(table.rows):
        made.add_row(*(Text(cell) for cell in row), style="bold red" if number in table.bad else "")
    return made
