"""The layers hold, and the pages that speak of code speak of this code."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

from asyncrev.connection.reading import PAUSE_REASONS
from asyncrev.states import TABLES

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = ROOT / "asyncrev"
PAGE = (ROOT / "docs" / "modules.md").read_text(encoding="utf-8")
INVARIANTS = (ROOT / "docs" / "invariants.md").read_text(encoding="utf-8")


def module_of(path: pathlib.Path) -> str:
    """Return the name below asyncrev; that of a folder for its `__init__`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


SOURCES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
MODULES = sorted(SOURCES)
PURE = {"asyncio", "threading", "socket", "select", "time"}


def levels() -> dict[str, int]:
    """Return the level of each module, as docs/modules.md gives it."""
    found = {}
    for level, names in re.findall(r"^\| L(\d) \| ([^|]*) \|", PAGE, re.MULTILINE):
        for name in re.findall(r"`([\w.]+)`", names):
            found[name] = int(level)
    return found


def imports(module: str) -> tuple[set[str], set[str]]:
    """Return the modules of asyncrev and the other packages that `module` imports anywhere."""
    own, other = set(), set()
    tree = ast.parse(SOURCES[module].read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "asyncrev":
                own.add(rest or "__init__")
            else:
                other.add(package)
    return own, other


def reaches(module: str) -> set[str]:
    """Return `module` and all of asyncrev that it imports, directly or not."""
    seen: set[str] = set()
    ahead = {module}
    while ahead:
        one = ahead.pop()
        seen.add(one)
        ahead |= imports(one)[0] - seen
    return seen


def test_page_names_every_module_once() -> None:
    """A module that the layer table does not have is not placed yet."""
    assert sorted(levels()) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_imports_only_go_down(module: str) -> None:
    """A module imports from its own level or from below."""
    level = levels()
    assert {name for name in imports(module)[0] if level[name] > level[module]} == set()


@pytest.mark.parametrize("module", MODULES)
def test_imports_make_no_circle(module: str) -> None:
    """No module reaches itself again by way of those that it imports."""
    assert not any(module in reaches(name) for name in imports(module)[0])


# `sink` and `engine` are Protocols; tests/protocol is about `connection.protocol`.
WITHOUT_A_TEST_FILE = {"__main__", "bridge.engine", "bridge.sink", "connection.protocol"}
TESTED = [name for name, path in SOURCES.items() if path.name != "__init__.py"]
TESTED = [name for name in TESTED if name not in WITHOUT_A_TEST_FILE]


@pytest.mark.parametrize("module", TESTED)
def test_module_has_its_test_file(module: str) -> None:
    """In the place that mirrors its own; those of root modules are in tests/unit."""
    package, _, name = module.rpartition(".")
    assert (ROOT / "tests" / (package or "unit") / f"test_{name}.py").is_file()


# What the modules of a package may import beside root modules and each other.
PACKAGES: dict[str, set[str]] = {
    "native": set(),
    "frames": {"native"},
    "bench": {"frames", "native"},
    "loop": set(),
    "ring": {"native"},
    "work": {"ring", "frames", "native"},
    "bridge": {"work", "ring", "frames"},
    "executors": {"ring"},
    "connection": {"executors", "bridge", "work", "ring", "frames"},
    "server": {"connection", "executors", "bridge", "work", "ring", "frames"},
    "admin": {"server", "connection", "bridge", "work", "ring", "frames"},
    "supervisor": {"admin", "server", "connection", "bridge", "work", "ring", "frames"},
    "command": {
        "admin",
        "bench",
        "supervisor",
        "server",
        "executors",
        "connection",
        "bridge",
        "work",
        "ring",
        "frames",
        "loop",
        "native",
    },
    "testing": {"server", "connection", "bridge", "work", "ring", "frames", "loop"},
}
AT_THE_DOOR = {"__init__", "__main__"}  # public names, and `python -m asyncrev`


def package_of(module: str) -> str:
    """Return the folder of a module, "" for the root."""
    package = module.partition(".")[0]
    return package if package in PACKAGES else ""


@pytest.mark.parametrize("module", [name for name in MODULES if name not in AT_THE_DOOR])
def test_package_imports_only_what_it_may(module: str) -> None:
    """A folder says which thread runs its code; root modules import root modules only."""
    package = package_of(module)
    may = {"", package} | PACKAGES.get(package, set())
    assert {name for name in imports(module)[0] if package_of(name) not in may} == set()


@pytest.mark.parametrize("package", [name for name in PACKAGES if name != "testing"])
def test_package_file_has_a_docstring_and_nothing_else(package: str) -> None:
    """It says which thread runs what is in it, and what that may import."""
    tree = ast.parse(SOURCES[package].read_text(encoding="utf-8"))
    assert len(tree.body) == 1
    said = ast.get_docstring(tree) or ""
    assert "Thread: " in said
    assert "Imports: " in said


@pytest.mark.parametrize("module", [name for name, level in levels().items() if level <= 1])
def test_pure_modules_wait_for_nothing(module: str) -> None:
    """The two lowest levels know neither threads nor sockets nor clocks."""
    assert imports(module)[1] & PURE == set()


WORKERS = [name for name in MODULES if name.startswith(("work.", "frames.", "native."))]


@pytest.mark.parametrize(
    "module", [*WORKERS, "ring.ring", "ring.plane", "ring.thread_side", "ring.wakeups"]
)
def test_worker_side_never_reaches_asyncio(module: str) -> None:
    """The worker's half can be tested, and understood, without a loop."""
    assert [name for name in reaches(module) if "asyncio" in imports(name)[1]] == []


RING_FIELDS = {"owners", "kinds", "slot_of", "sizes", "results", "reports"}
RING_FIELDS |= {"free_slots", "free_small_slots", "loop_views", "work_views"}
RING_STORES = {"published_seq", "processed_seq", "released_seq", "delivered_seq"}
RING_STORES |= {"input_closed", "output_closed"}


OUTSIDE_RING = [name for name in MODULES if name not in ("ring.ring", "ring.plane")]
OUTSIDE_RING = [name for name in OUTSIDE_RING if "testing" not in name]


@pytest.mark.parametrize("module", OUTSIDE_RING)
def test_ring_is_changed_by_its_methods_only(module: str) -> None:
    """Another ring, in another language say, has to have the methods and the cursors only."""
    reached = set()
    for node in ast.walk(ast.parse(SOURCES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            is_ring = isinstance(node.value, ast.Name | ast.Attribute) and (
                getattr(node.value, "id", getattr(node.value, "attr", "")) in ("ring", "_ring")
            )
            if is_ring and node.attr in RING_FIELDS:
                reached.add(node.attr)
            if node.attr in RING_STORES and not isinstance(node.ctx, ast.Load):
                reached.add(node.attr)
    assert reached == set()


def test_protocol_knows_no_particular_loop_or_transport() -> None:
    """BridgeProtocol must work on any."""
    reached = reaches("connection.bridge_protocol")
    assert [name for name in reached if name.split(".")[0] == "loop"] == []


def test_loop_imports_no_other_package() -> None:
    """Its modules import each other and modules of the root; the package itself nothing."""
    inside = [name for name in MODULES if name.split(".")[0] == "loop"]
    outside = {name for module in inside for name in imports(module)[0]} - set(inside)
    assert outside <= {name for name in MODULES if SOURCES[name].parent == PACKAGE}
    assert imports("loop") == (set(), set())


def test_server_imports_connections_and_below_only() -> None:
    """No particular loop, and nobody who uses a server."""
    inside = [name for name in MODULES if name.split(".")[0] == "server"]
    outside = {name.split(".")[0] for module in inside for name in reaches(module)}
    assert outside & {"admin", "loop", "command", "testing"} == set()
    assert imports("server") == (set(), set())


@pytest.mark.parametrize(
    ("package", "users"),
    [
        (
            "click",
            {"command.cli", "command.click_options", "command.option"}
            | {"command.option_types", "command.options", "command.config_cli"}
            | {f"command.option_rows_{part}" for part in ("limits", "listening", "processing")}
            | {"command.send_cli", "command.top_cli", "command.man_pages"}
            | {
                "command.bench_cli",
                "command.completion",
                "command.completion_cli",
                "command.doctor_cli",
            },
        ),
        ("numpy", {"work.reverse_numpy"}),
        ("h11", {"admin.http"}),
        ("prometheus_client", {"admin.metrics", "admin.metrics_text"}),
        ("rich", {"command.top_screen"}),
        ("hdrh", {"bench.latencies"}),
        ("pytest", {"testing.plugin"}),
    ],
)
def test_third_parties_are_imported_in_one_place(package: str, users: set[str]) -> None:
    """What is borrowed can be exchanged."""
    assert {module for module in MODULES if package in imports(module)[1]} == users


def test_embedding_imports_neither_click_nor_extras() -> None:
    """A library user pays for no command line and needs no extra."""
    extras = {
        "click",
        "distributed",
        "h11",
        "hdrh",
        "hypothesis",
        "prometheus_client",
        "pytest",
        "rich",
        "uvloop",
    }
    code = f"from asyncrev import *; import sys; print(sorted({extras} & {{*sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(TABLES))
def test_page_shows_the_state_tables(name: str) -> None:
    """The page has exactly the transitions of the code."""
    section = re.search(rf"^\*\*{name}\*\*(.*?)(?=^\*\*|^##)", PAGE, re.MULTILINE | re.DOTALL)
    assert section is not None
    rows = re.findall(r"^\| ([A-Z_]+) \| ([A-Z_]+) \| ([A-Z_]+) \|", section[1], re.MULTILINE)
    table = [(was.name, event.name, then.name) for (was, event), then in TABLES[name].items()]
    assert rows == table


def test_page_shows_the_reasons_for_a_pause() -> None:
    """The page has exactly the flags of the code, and what takes each back."""
    rows = re.findall(r"^\| ([A-Z_]+) \| (\d+) \| [^|]* \| ([^|]*) \|$", PAGE, re.MULTILINE)
    assert rows == [(name, str(flag), end) for name, (flag, end) in PAUSE_REASONS.items()]


def invariants() -> list[tuple[str, list[str], list[str]]]:
    """Return number, modules and tests of each row of docs/invariants.md."""
    rows = re.findall(r"^\| (I\d+) \|[^|]*\|([^|]*)\|([^|]*)\|", INVARIANTS, re.MULTILINE)
    modules, names = r"`([\w.]+)", r"`(\w+)`"
    return [(n, re.findall(modules, where), re.findall(names, tests)) for n, where, tests in rows]


def test_every_invariant_is_listed() -> None:
    """The code uses no number that the page does not explain."""
    used = set()
    for module in MODULES:
        used |= set(re.findall(r"\bI\d+\b", SOURCES[module].read_text(encoding="utf-8")))
    assert used == {number for number, _, _ in invariants()}


@pytest.mark.parametrize(("number", "modules", "tests"), invariants(), ids=lambda v: str(v)[:4])
def test_invariant_has_its_place_and_its_tests(
    number: str, modules: list[str], tests: list[str]
) -> None:
    """The number stands in the code it names, and the tests it names exist."""
    assert modules
    for module in modules:
        text = SOURCES[module].read_text(encoding="utf-8")
        assert re.search(rf"\b{number}\b", text), module
    defined = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/*.py"))
    assert tests
    for test in tests:
        assert re.search(rf"(def|class) {test}\b", defined), test
