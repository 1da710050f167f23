"""Each artefact on each Python: what it brings along, and whether it works with that alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from release.artefact import artefact
from tests.artefacts import trials
from tests.artefacts.dist import native_wheel, native_wheels, one
from tests.artefacts.environment import Environment
from tests.artefacts.pythons import Python, pythons

PYTHONS = pythons()
# An sdist is built by whoever installs it.
KINDS = ("native", "pure", "sdist", "sdist-without-compiler")
CASES = [
    pytest.param((kind, python), id=f"{kind}-{python.name}")
    for python in PYTHONS
    for kind in KINDS
    # Those for Python without a GIL are built by the release workflow only.
    if kind != "native" or not python.free_threaded or native_wheels(python)
]


@dataclass(frozen=True)
class Installed:
    """An environment with one artefact, and what is expected of it."""

    environment: Environment
    version: str
    plane: str


@pytest.fixture(scope="module", params=CASES)
def installed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installed]:
    """Install an artefact into an environment of its own."""
    kind: str
    python: Python
    kind, python = request.param
    with Environment(python, tmp_path_factory.mktemp(f"{kind}-{python.name}")) as environment:
        path = install(environment, kind)
        plane = "native" if kind in ("native", "sdist") else "python"
        yield Installed(environment, artefact(path).version, plane)


def install(environment: Environment, kind: str) -> Path:
    """Install an artefact of this kind, and return it."""
    if kind == "pure":
        path = one("*-none-any.whl")
        environment.install(str(path))
    else:  # not by uv, which keeps what it has built, whatever the compiler was
        path = native_wheel(environment.python) if kind == "native" else one("*.tar.gz")
        compiler = {"CC": "/bin/false"} if kind == "sdist-without-compiler" else {}
        environment.install_by_pip(str(path), **compiler)
    return path


def test_only_click_and_numpy_come_with_it(installed: Installed) -> None:
    """And pip, where it has installed itself."""
    distributions = installed.environment.installed()
    assert {*distributions} - {"pip", "setuptools"} == {"asyncrev", "click", "numpy"}
    assert distributions["asyncrev"] == installed.version
    installed.environment.check()


def test_versions_are_those_of_the_artefact(installed: Installed) -> None:
    """That of the command, of `python -m`, and of the library."""
    environment = installed.environment
    for command in (("asyncrev",), ("python", "-m", "asyncrev")):
        said = environment.run(*command, "--version").stdout
        assert said.startswith(f"asyncrev {installed.version} ("), said
        assert f"plane {installed.plane}" in said
    code = "import asyncrev; print(asyncrev.__version__)"
    assert environment.run("python", "-I", "-c", code).stdout.strip() == installed.version


@pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])
def test_server_answers(installed: Installed, certificates: tuple[str, str], kind: str) -> None:
    """What was sent, in reverse."""
    trials.answers(installed.environment, kind, certificates, installed.plane)


def test_library_serves_in_ten_lines(installed: Installed) -> None:
    """In a program of one's own."""
    trials.library(installed.environment)


def test_commands_and_their_files_are_there(installed: Installed) -> None:
    """Completion and manual pages, too."""
    trials.command_line(installed.environment)


def test_what_needs_an_extra_says_which(installed: Installed) -> None:
    """As one line, and with exit code 2."""
    trials.errors_of_extras(installed.environment)
