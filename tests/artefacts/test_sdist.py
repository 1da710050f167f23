"""The sdist is enough: its own tests run in it, and a build of it can be repeated."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from release.artefact import Sdist
from release.build import build_all
from tests.artefacts.dist import one

TESTS = ("tests/unit", "tests/frames")
MOST_S = 240.0


def test_tests_pass_in_what_it_unpacks_to(tmp_path: Path) -> None:
    """With its own Python files, which are found before those that are installed here.

    These folders have the tests that read pages and files of the project. The models have a test
    of a minute, which says nothing about an sdist.
    """
    path = one("*.tar.gz")
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path, filter="data")
    tree = tmp_path / f"asyncrev-{Sdist(path).version}"
    options = ("-q", "-n", "2", "-p", "no:cacheprovider", "-m", "not slow and not stress")
    command = [sys.executable, "-m", "pytest", *options, "--ignore", "tests/unit/test_models.py"]
    done = subprocess.run(
        [*command, *TESTS],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=MOST_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout


@pytest.mark.parametrize("kind", ["sdist", "pure", "native"])
def test_two_builds_are_the_same_bytes(builds: tuple[Path, Path], kind: str) -> None:
    """In folders of other names, with other modes, in another time zone."""
    pattern = {"sdist": "*.tar.gz", "pure": "*-none-any.whl", "native": "*-abi3-*.whl"}[kind]
    (first,), (second,) = (sorted(folder.glob(pattern)) for folder in builds)
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Build the last commit twice."""
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    build_all(first, ("sdist", "pure", "native"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("elsewhere")))
        build_all(second, ("sdist", "pure", "native"))
    return first, second
