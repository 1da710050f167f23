"""docs/stability.md: what it calls public is there, is documented, and is all that we show."""

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator

import click
import pytest

import asyncrev
from asyncrev.command.cli import main
from tests.support import ROOT
from tests.unit.test_docs import PAGES, snippets, text_of

PAGE = "docs/stability.md"
# A change log says what was once there.
SHOWN = [page for page in PAGES if page != "CHANGELOG.md"]
ALL = "all of `__all__`"


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading, without its head."""
    section = text_of(PAGE).split(f"\n{heading}\n")[1].split("\n#")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def public() -> dict[str, set[str]]:
    """Return the public names of each module with some, as the page has them."""
    named = {}
    for module, names in rows("### Python"):
        path = module.strip("`")
        everything = importlib.import_module(path).__all__ if names == ALL else None
        named[path] = set(everything or re.findall(r"`(\w+)`", names))
    return named


PUBLIC = public()


def documented() -> dict[str, set[str]]:
    """Return the names that the API reference has, by module."""
    found: dict[str, set[str]] = {}
    directive = re.compile(
        r"^\.\. (?:py:data|auto(?:class|function|module)):: (asyncrev[\w.]*)", re.M
    )
    for page in PAGES:
        if not page.startswith("docs/api/"):
            continue
        for name in directive.findall(text_of(page)):
            module, _, attribute = name.rpartition(".")
            if f"automodule:: {name}\n" in text_of(page):
                found.setdefault(name, set()).update(importlib.import_module(name).__all__)
            else:
                found.setdefault(module, set()).add(attribute)
    return found


def test_page_and_api_reference_have_the_same_names() -> None:
    """What is documented is public, and the other way round."""
    # These are documented where they are defined, or are only a number.
    elsewhere = {"__version__", *(PUBLIC["asyncrev"] & PUBLIC["asyncrev.errors"])}
    in_reference = documented()
    in_reference["asyncrev"] |= elsewhere
    assert in_reference == PUBLIC


@pytest.mark.parametrize("module", sorted(PUBLIC))
def test_public_names_are_there(module: str) -> None:
    """In the module that the page names, as names that are meant to be imported."""
    exported = importlib.import_module(module).__all__
    assert PUBLIC[module]
    assert PUBLIC[module] <= {*exported}


def shown_uses() -> Iterator[tuple[str, str, str]]:
    """Yield each name of asyncrev that an example or a snippet imports: where, module, name."""
    codes = [(str(path.relative_to(ROOT)), path.read_text()) for path in ROOT.glob("examples/*.py")]
    codes += [(page, code) for page in SHOWN for code in snippets(page)]
    for place, code in codes:
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "asyncrev":
                yield from ((place, str(node.module), alias.name) for alias in node.names)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.startswith("asyncrev."):
                        yield place, alias.name, ""
            elif isinstance(node, ast.Attribute):
                parts = ast.unparse(node).split(".")
                if parts[0] == "asyncrev" and all(part.isidentifier() for part in parts):
                    yield place, "asyncrev", ".".join(parts[1:])


def is_public(module: str, name: str) -> bool:
    """Return whether a name, or something reached through it, may be used by everybody."""
    path = f"{module}.{name}".strip(".").split(".")
    for length in range(len(path), 0, -1):
        prefix = ".".join(path[:length])
        if prefix in PUBLIC:
            rest = path[length:]
            return not rest or rest[0] in PUBLIC[prefix] or ".".join(path) in PARENTS
    return False


# Packages on the way to a public module.
PARENTS = {
    ".".join(path.split(".")[:length])
    for path in PUBLIC
    for length in range(1, path.count(".") + 2)
}


def test_examples_and_snippets_use_public_names_only() -> None:
    """Nobody copies a line from us that the next version breaks without a word."""
    uses = list(shown_uses())
    assert len(uses) > 100
    assert sorted({use for use in uses if not is_public(*use[1:])}) == []


@pytest.mark.parametrize(
    ("module", "name", "expected"),
    [
        ("asyncrev", "Bridge", True),
        ("asyncrev", "Bridge.submit", True),
        ("asyncrev", "errors.LocalError", True),
        ("asyncrev", "_MODULE_OF", False),
        ("asyncrev", "states.InputState", False),
        ("asyncrev.ring.ring", "Ring", False),
        ("asyncrev.ring.ring", "", False),
        ("asyncrev.statistics", "total", False),
        ("asyncrev.testing", "play", True),
    ],
)
def test_rule_tells_public_from_internal(module: str, name: str, *, expected: bool) -> None:
    """The one by which examples are judged."""
    assert is_public(module, name) is expected


def test_commands_and_exit_codes_are_those_of_the_help() -> None:
    """Every command has a row; codes that it does not name are no part of its interface."""
    on_page = {
        row[0].strip("`").removeprefix("asyncrev "): re.findall(r"\d+", row[1])
        for row in rows("### The command")
    }
    helps = {" ".join(path): command.help or "" for path, command in commands(main)}
    assert {*on_page} == {path for path in helps if path and " " not in path}
    for name, codes in on_page.items():
        told = {
            code
            for path, text in helps.items()
            if path.split()[:1] == [name]
            for code in exit_codes(text)
        }
        assert codes == sorted(told, key=int), name


def commands(
    group: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield a command and those below it; they are imported when they are asked for."""
    yield path, group
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            yield from commands(command, (*path, name))


def exit_codes(text: str) -> list[str]:
    """Return the numbers of the paragraph on exit codes in a help."""
    paragraph = " ".join(text.split()).partition("Exit codes: ")[2]
    return re.findall(r"(?:^|[,;] )(\d+)", paragraph)


def test_pythons_are_those_of_the_classifiers() -> None:
    """And the oldest is the one that an installer demands."""
    (versions,) = (row[1] for row in rows("## Pythons and platforms") if row[0] == "CPython")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    classified = [
        found[1]
        for line in project["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line))
    ]
    assert versions.split(", ") == classified
    assert project["requires-python"] == f">={classified[0]}"


def test_nothing_warns_of_a_removal_while_the_page_says_that_nothing_is_deprecated() -> None:
    """Whoever deprecates the first thing reads the rule, and changes the sentence."""
    warns = [
        str(path.relative_to(ROOT))
        for path in ROOT.glob("asyncrev/**/*.py")
        if "DeprecationWarning" in path.read_text(encoding="utf-8")
    ]
    says = "Nothing is deprecated at the moment" in text_of(PAGE)
    assert says == (not warns), warns
    assert asyncrev.__all__
