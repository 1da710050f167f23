"""config_lines: the lines of tables and keys, for whatever tomllib accepts."""

import tomllib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncrev.command.config_lines import lines_of

# Values that look like structure, and values that take several lines.
VALUES = (
    "1",
    "inf",
    "1979-05-27T07:32:00Z",
    "true",
    '"plain"',
    r'"a \" # ] [serve]"',
    "'a \\'",
    '"""\n[serve]\nport = 1\n"""',
    '"""a""b\\""""',
    '"""""two quotes"""""',
    r'"""\" # \""" ]"""',
    "'''\n[limits]\n'' \\'''",
    "''''quoted''''",
    "[]",
    '[\n  1, # ]\n  2,\n\n  "]", \'[\', """\n]"""\n]',
    "[{a = 1}, {b = [1, {c = '}'}]}]",
    "{}",
    '{ a.b = 1, "]" = "}" }',
)
NAMES = ("serve", "limits", "port", "a-b", "7", "_")


def spelt(draw: st.DrawFn, name: str) -> str:
    """Return a way to write a key."""
    ways = [f'"{name}"', f"'{name}'", f'"\\u{ord(name[0]):04x}{name[1:]}"', name]
    return draw(st.sampled_from(ways))


def spaced(draw: st.DrawFn, *parts: str) -> str:
    """Return the parts with spaces or tabs between them."""
    return "".join(part + draw(st.sampled_from(["", " ", "\t "])) for part in parts)


class Writer:
    """A document in the making, with the lines of its tables and keys."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.text = ""
        self.lines: dict[tuple[str, ...], int] = {}

    def blank(self) -> None:
        self.text += self.draw(st.sampled_from(["", "\n", "  # [port] = 1\n", "\t\n\n"]))

    def note(self, *path: str) -> None:
        """Say that the next token names this path."""
        for depth in (1, 2):
            self.lines.setdefault(path[:depth], self.text.count("\n") + 1)

    def write(self, *parts: str) -> None:
        self.text += spaced(self.draw, *parts)

    def assignment(self, key: str) -> None:
        more = self.draw(st.sampled_from(["", ".x", ". 'y' .z"]))
        self.write(spelt(self.draw, key) + more, "=", self.draw(st.sampled_from(VALUES)))

    def inline_table(self, table: str, keys: list[str]) -> None:
        self.note(table)
        self.write(spelt(self.draw, table), "=", "{")
        for number, key in enumerate(keys):
            self.write("," if number else "")
            self.note(table, key)
            self.assignment(key)
        self.text += "}\n"

    def dotted(self, table: str, keys: list[str]) -> None:
        for key in keys:
            self.blank()
            self.note(table, key)
            self.write(spelt(self.draw, table), ".")
            self.assignment(key)
            self.text += "\n"

    def tables_below(self, table: str, keys: list[str]) -> None:
        for key in keys:
            self.blank()
            self.note(table, key)
            self.write("[", spelt(self.draw, table), ".", spelt(self.draw, key), "] # [port]")
            self.text += "\nport = [\n[1]]\n"

    def table(self, table: str, keys: list[str]) -> None:
        opening, closing = self.draw(st.sampled_from([("[", "]"), ("[[", "]]")]))
        self.note(table)
        self.write(opening, spelt(self.draw, table), closing)
        self.text += "# x\n"
        for key in keys:
            self.blank()
            self.note(table, key)
            self.assignment(key)
            self.text += "\n"


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[tuple[str, ...], int]]:
    """Return a document, and the lines of its tables and keys."""
    writer = Writer(draw)
    tables = draw(st.lists(st.sampled_from(NAMES), unique=True))
    of_root = draw(st.integers(0, len(tables)))  # after a header, nothing can be of the root
    for number, table in enumerate(tables):
        keys = draw(st.lists(st.sampled_from(NAMES), unique=True))
        writer.blank()
        forms = (
            [writer.inline_table, writer.dotted]
            if number < of_root
            else [writer.table, writer.tables_below]
        )
        draw(st.sampled_from(forms))(table, keys)
    return writer.text, writer.lines


@given(documents())
def test_lines_are_those_on_which_a_document_was_written(
    document: tuple[str, dict[tuple[str, ...], int]],
) -> None:
    """Values, comments and long strings that look like keys are not taken for some."""
    text, lines = document
    tomllib.loads(text)  # the document is one
    assert lines_of(text) == lines
    assert lines_of(text.replace("\n", "\r\n")) == lines


FRAGMENTS = [
    *'[]{}=,.#"\'\\ \n\t', "\r\n", "[[", "]]", '"""', "'''", "a", "b", "port", "1", "1.5", "é",
    "true", "a = ", "[a]\n", '"x"', "\\u0061", "a.b", "= 1\n", "= {", "= [",
]  # fmt: skip


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join))
@example('a = """x\\\n"""\n[b]\nc = 1')
@example("a = {b = {c = 1}, d = 2}\ne = 1")
@example("a.b.c = 1\na.d = [{e = 1},\n{f = 2}]\ng = 3")
@example('"" = 1\n[a.""]\n\'\' = 2')
@example("[a]\nb.c = 1\n[[d.e]]\n[[d.e]]\nf = 1")
def test_every_table_and_key_of_an_accepted_text_has_a_line(text: str) -> None:
    """Other texts raise no error, and no path has a line that the text has not."""
    lines = lines_of(text)
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError):
        return
    paths = {(name,) for name in data}
    paths |= {(name, key) for name in data if isinstance(data[name], dict) for key in data[name]}
    assert paths <= lines.keys()
    for path in paths:  # nothing before the line names it, everything up to it does
        assert path not in _paths_of_head(text, lines[path] - 1)


def _paths_of_head(text: str, number: int) -> set[tuple[str, ...]]:
    """Return the paths in the first lines, if these are a document."""
    try:
        data = tomllib.loads("".join(text.replace("\r\n", "\n").splitlines(keepends=True)[:number]))
    except (ValueError, RecursionError):
        return set()
    below = {(name, key) for name in data if isinstance(data[name], dict) for key in data[name]}
    return {(name,) for name in data} | below


@pytest.mark.parametrize(
    "text", ["[", "a", "a =", 'a = "', "a = {", "a = {b", "a = [", '"\\x" = 1']
)
def test_text_that_is_no_document_raises_nothing(text: str) -> None:
    """A message may then lack its line."""
    assert len(lines_of(text)) <= 2


def test_large_document_takes_time_in_proportion_to_its_length() -> None:
    """Lines are counted once; a pattern that tries again from the start would take hours."""
    text = "[serve]\n" + "".join(f'k{n} = ["{n}", [{{}}]]\n' for n in range(10_000))
    text += 'last = "' + '\\"' * 100_000 + '"\nl = """' + '"" ' * 100_000 + '"""\n'
    lines = lines_of(text)
    assert lines["serve", "k9999"] == 10_001
    assert lines["serve", "l"] == 10_003
