"""Each extra on its own, with the newest and with the oldest versions that it admits."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from release.artefact import USERS_EXTRAS
from tests.artefacts import trials
from tests.artefacts.dist import best_wheel, requirements
from tests.artefacts.environment import Environment
from tests.artefacts.pythons import Python, pythons

PYTHONS = [pytest.param(python, id=python.name) for python in pythons()]
on_each_python = pytest.mark.parametrize("python", PYTHONS)


@pytest.fixture
def environment(python: Python, tmp_path: Path) -> Iterator[Environment]:
    """An empty environment of the Python."""
    with Environment(python, tmp_path) as made:
        yield made


@on_each_python
@pytest.mark.parametrize("extra", USERS_EXTRAS)
def test_extra_works_on_its_own(environment: Environment, extra: str) -> None:
    """With nothing but what it names itself."""
    wheel = best_wheel(environment.python)
    environment.install("--only-binary", ":all:", f"asyncrev[{extra}] @ {wheel.as_uri()}")
    environment.check()
    trials.EXTRA_TRIALS[extra](environment)


def install_lowest(environment: Environment, *extras: str) -> Path:
    """Install a wheel with the lowest versions that it admits and this Python has wheels of.

    Returns:
        The wheel.
    """
    wheel = best_wheel(environment.python)
    # Of what is named to it, uv takes the lowest versions; of what that needs, the newest.
    named = [f"{each.name}{each.specifier}" for each in requirements(wheel, extras)]
    environment.install("--only-binary", ":all:", "--resolution", "lowest-direct", *named)
    environment.install("--no-deps", str(wheel))
    environment.check()
    print(environment.installed())  # which they were, for the log
    return wheel


@on_each_python
def test_lowest_versions_serve(environment: Environment, certificates: tuple[str, str]) -> None:
    """With no extra: all that the artefacts are tried for."""
    wheel = install_lowest(environment)
    plane = "python" if wheel.name.endswith("-none-any.whl") else "native"
    for kind in ("tcp", "unix", "tls"):
        trials.answers(environment, kind, certificates, plane)
    trials.library(environment)
    trials.command_line(environment)
    trials.errors_of_extras(environment)


@on_each_python
@pytest.mark.parametrize("extra", USERS_EXTRAS)
def test_lowest_versions_of_extra_work(environment: Environment, extra: str) -> None:
    """Each extra on its own, because one may need a later version of another's dependency."""
    install_lowest(environment, extra)
    trials.EXTRA_TRIALS[extra](environment)
