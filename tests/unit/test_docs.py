"""The pages hold: links lead somewhere, tests that are named exist, snippets do what they say."""

import ast
import contextlib
import inspect
import io
import logging
import os
import pathlib
import re
import shlex
import urllib.parse
from collections.abc import Iterator
from typing import Any

import click
import pytest

import asyncrev
from asyncrev.command.cli import main
from tests.support import ServerProcess, serving

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted(
    str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
)

FLAWS = "docs/seventeen-ways.md"

FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#{1,3} (.+)$", re.M)
TEST_LINK = re.compile(r"\[`(test_\w+|Test\w+)`\]\(([^)]+)\)")


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def prose_of(page: str) -> str:
    """Return a page without what is in fences."""
    return FENCE.sub("", text_of(page))


def anchors_of(page: str) -> set[str]:
    """Return the names that a code forge, and MyST, give to the headings of a page."""
    titles = [
        re.sub(r"\[(.*?)\]\(.*?\)", r"\1", title) for title in HEADING.findall(prose_of(page))
    ]
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


def snippets(page: str, language: str = "python") -> list[str]:
    return [code for found, code in FENCE.findall(text_of(page)) if found == language]


# -- links and names -------------------------------------------------------------------------------


def broken_links(page: str, text: str) -> list[str]:
    """Return the relative links in `text` that lead to no file, or to no heading of one."""
    broken = []
    for link in LINK.findall(text):
        if re.match(r"\w+:", link):
            continue
        target, _, anchor = urllib.parse.unquote(link).partition("#")
        path = (ROOT / page).parent / target if target else ROOT / page
        if not path.exists() or (anchor and anchor not in anchors_of(str(path.resolve()))):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_lead_to_files_and_headings(page: str) -> None:
    """As on a code forge; Sphinx, which is not needed here, looks once more at `make docs`."""
    assert broken_links(page, prose_of(page)) == []


def test_look_at_links_sees_broken_ones() -> None:
    """A file, a heading, and a heading of another page that are not there."""
    wrong = "[a](nothing.md) [b](#nothing) [c](memory.md#nothing) [d](memory.md) [e](https://x.y)"
    assert broken_links("docs/design.md", wrong) == ["nothing.md", "#nothing", "memory.md#nothing"]


def missing_tests(page: str, text: str) -> list[str]:
    """Return the tests that `text` names, but whose file does not have them, or that has none."""
    links = TEST_LINK.findall(text)
    unlinked = set(re.findall(r"`(test_\w+)`", text)) - {name for name, _ in links}
    missing = [
        name
        for name, link in links
        if not re.search(
            rf"^ *(async )?(def|class) {name}\b", ((ROOT / page).parent / link).read_text(), re.M
        )
    ]
    return missing + sorted(unlinked)


def test_every_test_that_the_seventeen_ways_name_exists() -> None:
    """Each in the file that its link leads to, and each section has some."""
    text = text_of(FLAWS)
    assert missing_tests(FLAWS, text) == []
    sections = re.split(r"^## ", prose_of(FLAWS), flags=re.M)
    flaws = [section for section in sections if "**The demo" in section]
    assert len(flaws) == 17
    assert [flaw.splitlines()[0] for flaw in flaws if len(TEST_LINK.findall(flaw)) < 2] == []


def test_look_at_tests_sees_missing_ones() -> None:
    """One that the file has not, and one without a file."""
    wrong = "[`test_nothing`](../tests/unit/test_docs.py) `test_nowhere`"
    assert missing_tests(FLAWS, wrong) == ["test_nothing", "test_nowhere"]


def test_every_example_is_on_the_page_of_examples() -> None:
    """Under its name, and shown in full."""
    names = [path.name for path in ROOT.glob("examples/[a-z]*.py")]
    page = text_of("docs/examples.md")
    assert {name for name in names if f"\n## {name}\n" in page} == set(names)
    shown = re.findall(r"^```\{literalinclude\} \.\./examples/(\S+)$", page, re.M)
    assert sorted(shown) == sorted(names)


def test_index_has_what_the_menu_has_in_its_order() -> None:
    """Each section of the page is a section of the menu."""
    index = text_of("docs/index.md")
    menu = {
        caption: re.findall(r"^(?:.+<)?([\w/-]+)>?$", entries, re.M)
        for caption, entries in re.findall(r"^:caption: (.+)\n\n((?:.+\n)+?)```", index, re.M)
    }
    assert sorted(menu) == ["Explanation", "How-to guides", "Maintainers", "Reference", "Tutorial"]
    shown = {
        "../README": "overview",
        "../CHANGELOG": "changelog",
        "../CONTRIBUTING": "contributing",
    }
    sections = re.split(r"^## ", prose_of("docs/index.md"), flags=re.M)[1:]
    listed = {}
    for section in sections:
        title, _, text = section.partition("\n")
        links = re.findall(r"^- \[.+?\]\((\S+)\.md\)", text, re.M)
        listed[title] = [shown.get(link, link) for link in links]
    assert list(listed.items()) == list(menu.items())


def test_every_setting_is_described() -> None:
    """The reference is made from the docstring."""
    documented = re.findall(r"^    (\w+): ", inspect.getdoc(asyncrev.Limits) or "", re.M)
    assert sorted(documented) == sorted(asyncrev.Limits.__dataclass_fields__)


def unknown_options(text: str) -> set[str]:
    """Return the options of `asyncrev serve`, in lines that call it, that it does not have."""
    assert isinstance(main, click.Group)
    known = {name for option in main.commands["serve"].params for name in option.opts}
    lines = re.findall(r"asyncrev serve (.*)", text)
    used = {option for line in lines for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", line)}
    return used - known - {"--help"}


@pytest.mark.parametrize("page", PAGES)
def test_options_of_serve_exist(page: str) -> None:
    """An option that was renamed is wrong on every page that uses it."""
    assert unknown_options(text_of(page)) == set()


def test_look_at_options_sees_a_wrong_one() -> None:
    """Spelled as nobody would."""
    assert unknown_options("$ asyncrev serve --slots 4 --slotz 4") == {"--slotz"}


# -- snippets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_snippets_compile(page: str) -> None:
    """All that are marked as Python, `await` at the top level included."""
    for code in snippets(page):
        compile(code, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def run(code: str, names: dict[str, Any], page: str, port: int = 0) -> str:
    """Run a snippet, as a coroutine if it awaits; return what it printed.

    Servers take free ports, and those that would serve for ever are only begun.
    """
    names["PORT"] = port
    code = code.replace("9090", "PORT").replace("await server.serve_forever()", "pass")
    compiled = compile(code, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    with contextlib.redirect_stdout(io.StringIO()) as output:
        result = eval(compiled, names)
        if inspect.iscoroutine(result):
            asyncrev.run(result)
    return output.getvalue()


def promised(code: str) -> str:
    """Return what the comments of a snippet say that it prints: beside a `print`, or at its end.

    Those at the end are comment lines that begin in the first column, behind all code.
    """
    body, end = re.fullmatch(r"(.*?)((?:^#[^\n]*\n)*)", code, re.M | re.S).groups()  # type: ignore[union-attr]
    beside = re.findall(r"^ *print\(.*\)  # (.+)$", body, re.M) if body.strip() else []
    return "".join(f"{line}\n" for line in [*beside, *re.findall(r"^# (.+)$", end, re.M)])


RUN = [
    "README.md",
    "docs/index.md",
    "docs/howto/choose-limits.md",
    "docs/howto/embedding.md",
    "docs/howto/run-as-a-service.md",
    "docs/howto/submit-and-channel.md",
    "docs/howto/use-frames.md",
    "docs/howto/watch.md",
    "docs/howto/work-on-threads.md",
    "docs/howto/write-a-processor.md",
]


@pytest.fixture
def _log_as_before() -> Iterator[None]:
    """Undo what a snippet sets up for the whole process."""
    before = {name: logging.getLogger(name).level for name in ("asyncrev", "")}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.usefixtures("_log_as_before")
@pytest.mark.parametrize("page", RUN)
def test_snippets_do_what_they_say(page: str, snippet_names: dict[str, Any]) -> None:
    """In the order of the page, with the names of those before; what they print is beside them."""
    codes = snippets(page)
    assert codes
    for code in codes:
        assert run(code, snippet_names, page) == promised(code), code


def test_run_sees_a_snippet_that_says_something_else() -> None:
    """Both places for what is promised."""
    code = (
        "import asyncio\nawait asyncio.sleep(0)\nprint(1)  # 2\nfor i in 3, 4:\n    print(i)\n# 3\n"
    )
    assert (run(code, {}, "page"), promised(code)) == ("1\n3\n4\n", "2\n3\n")


@pytest.mark.slow
@pytest.mark.process
def test_seventeen_ways_go_as_they_say(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, snippet_names: dict[str, Any]
) -> None:
    """As a reader would follow it: the commands in a shell, the snippets at one prompt."""
    page = FLAWS
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    ran = 0
    with contextlib.ExitStack() as running:
        server: ServerProcess | None = None
        for language, code in FENCE.findall(text_of(page)):
            if language == "console":
                for command in re.findall(r"^\$ (.+)$", code, re.M):
                    program, *args = shlex.split(command)
                    if program == "mkfifo":
                        os.mkfifo(args[0])
                        continue
                    assert (program, args[0]) == ("asyncrev", "serve")
                    running.close()
                    server = running.enter_context(serving(*args[1:]))
            elif language == "python" and code.startswith("# held.py\n"):
                pathlib.Path("held.py").write_text(code)
            elif language == "python":
                assert server is not None
                assert run(code, snippet_names, page, server.port) == promised(code), code
                ran += 1
    assert ran == 9
