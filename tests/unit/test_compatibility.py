"""The page about other people's programs names all that is tried, and nothing else."""

import pathlib
import re
import tomllib

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| \[([\w-]+)\]\(https://pypi.org/project/\1/\) \| ([\d.]+) \| .* \|"
    r" \[(test_\w+)\]\(\.\./tests/ecosystem/\3\.py\) \| as on asyncio \|$",
    re.M,
)
TESTERS = {"trustme"}  # of the group, and not tried


def parts(version: str) -> tuple[int, ...]:
    """Return a version as numbers, to compare."""
    return tuple(map(int, version.split(".")))


def test_table_names_every_package_of_the_group_with_a_version_it_allows() -> None:
    """What is not in the dependency group `ecosystem` was not tried by its tests."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = [one for one in project["dependency-groups"]["ecosystem"] if isinstance(one, str)]
    least = dict(re.findall(r"([\w-]+)>=([\d.]+)", "\n".join(named)))
    tried = {name: version for name, version, _ in ROW.findall(PAGE)}
    assert tried.keys() == least.keys() - TESTERS
    assert [name for name in tried if parts(tried[name]) < parts(least[name])] == []


def test_table_names_every_module_of_tests() -> None:
    """And no module that is gone."""
    modules = {path.stem for path in (ROOT / "tests" / "ecosystem").glob("test_*.py")}
    named = set(re.findall(r"\[(test_\w+)\]\(\.\./tests/ecosystem/", PAGE))
    assert named == modules
    assert {module for _, _, module in ROW.findall(PAGE)} == modules - {"test_standard_library"}


def test_every_program_is_tried_on_both_loops() -> None:
    """By the fixture that runs a coroutine on each, or by names of its own."""
    for path in (ROOT / "tests" / "ecosystem").glob("test_*.py"):
        text = path.read_text(encoding="utf-8")
        own = {name for name in ("epoll", "epoll-debug", "asyncio") if f'"{name}"' in text}
        assert "run: Run[Any]" in text or len(own) == 3, path.name
