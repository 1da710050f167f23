"""version: from the tag of git, well formed, told everywhere; its lack is never a failure."""

import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import warnings
import zipfile

import pytest

import asyncrev
from asyncrev.version import NEXT_RELEASE, __version__
from tests.support import ROOT

NEXT = "9.8.0"  # of the trees that are built here
ARCHIVAL = ROOT / ".git_archival.txt"  # an sdist has none
NAMED = "SETUPTOOLS_SCM_PRETEND_VERSION_FOR_ASYNCREV"
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")


def test_version_is_semantic() -> None:
    """MAJOR.MINOR.PATCH, with at most a suffix that packaging knows."""
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?(\.dev\d+)?", __version__)
    assert re.fullmatch(r"\d+\.\d+\.\d+", NEXT_RELEASE)


def test_version_is_a_public_name() -> None:
    """`asyncrev.__version__` is what people look for."""
    assert asyncrev.__version__ == __version__


def test_version_of_a_tree_that_nobody_built_is_the_first_on_the_way(
    tmp_path: pathlib.Path,
) -> None:
    """Such a tree has no version.txt."""
    module = tmp_path / "version.py"
    shutil.copy(ROOT / "asyncrev" / "version.py", module)
    assert runpy.run_path(str(module))["__version__"] == f"{NEXT_RELEASE}.dev0"
    (tmp_path / "version.txt").write_text("4.5.6\n", encoding="ascii")
    assert runpy.run_path(str(module))["__version__"] == "4.5.6"


def test_version_stands_in_one_place() -> None:
    """Neither the description of the project nor that for citations has a number of its own."""
    assert 'dynamic = ["version", "readme"]' in (ROOT / "pyproject.toml").read_text("utf-8")
    for name in ("pyproject.toml", "setup.py", "CITATION.cff"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"^\W*version\W{1,5}\d", text, re.M), name


class Tree:
    """A small copy of what the build reads, in a folder of its own."""

    def __init__(self, path: pathlib.Path, *, there: bool = False) -> None:
        """Copy it; no module of the package is needed but the one that is about the version."""
        self.path = path
        if there:
            return
        (path / "asyncrev" / "native").mkdir(parents=True)
        (path / "asyncrev" / "__init__.py").touch()
        for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "MANIFEST.in"):
            shutil.copy(ROOT / name, path)
        (path / ".gitattributes").write_text(".git_archival.txt export-subst\n", encoding="ascii")
        if ARCHIVAL.exists():
            shutil.copy(ARCHIVAL, path)
        shutil.copytree(ROOT / "packaging" / "share", path / "packaging" / "share")
        text = (ROOT / "asyncrev" / "version.py").read_text(encoding="utf-8")
        text = text.replace(f'"{NEXT_RELEASE}"', f'"{NEXT}"')
        (path / "asyncrev" / "version.py").write_text(text, encoding="utf-8")

    def git(self, *args: str) -> str:
        """Run git here, without the user's configuration."""
        names = ("-c", "user.name=test", "-c", "user.email=test@localhost")
        done = subprocess.run(
            ["git", "-C", str(self.path), *names, *args],
            env=os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        return done.stdout

    def commit(self) -> None:
        """Commit what there is, even if it is nothing new."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "A change")

    def version(self) -> str:
        """Return the version that a build would have; warnings are for those who build by hand."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: str = runpy.run_path(str(self.path / "setup.py"), run_name="setup")["version"]()
        return found

    def python(self, *args: str) -> None:
        """Run Python here, for a build without native code."""
        subprocess.run(
            [sys.executable, "-W", "ignore", *args],
            cwd=self.path,
            env=os.environ | {"ASYNCREV_BUILD": "pure"},
            check=True,
            timeout=50,
        )


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> Tree:
    """Without git."""
    return Tree(tmp_path / "tree")


@pytest.fixture
def checkout(tree: Tree) -> Tree:
    """With one commit and no tag."""
    tree.git("init", "--quiet")
    tree.commit()
    return tree


@needs_git
def test_version_before_the_first_tag_counts_commits_to_the_next_release(checkout: Tree) -> None:
    """Tags of other things change nothing."""
    assert checkout.version() == f"{NEXT}.dev1"
    checkout.git("tag", "build-7")
    checkout.git("tag", "v1")
    checkout.commit()
    assert checkout.version() == f"{NEXT}.dev2"


@needs_git
@pytest.mark.parametrize(
    ("tag", "after"),
    [
        ("v9.7.0", f"{NEXT}.dev1"),
        ("v9.8.0", "9.8.1.dev1"),
        ("v9.8.0rc1", "9.8.0rc2.dev1"),
        ("v10.0.0", "10.0.1.dev1"),
    ],
)
def test_version_of_a_tag_is_the_tag_and_what_comes_after_is_higher(
    checkout: Tree, tag: str, after: str
) -> None:
    """Towards the next release, or towards a correction where that was not set anew."""
    checkout.git("tag", tag)
    assert checkout.version() == tag[1:]
    checkout.commit()
    assert checkout.version() == after


@needs_git
@pytest.mark.skipif(not ARCHIVAL.exists(), reason="this is no checkout")
def test_archive_that_git_makes_of_a_tag_has_its_version(
    checkout: Tree, tmp_path: pathlib.Path
) -> None:
    """Of a commit without a tag before it, the first on the way."""
    archive = tmp_path / "archive.tar"

    def version(folder: str) -> str:
        checkout.git("archive", f"--output={archive}", "HEAD")
        (tmp_path / folder).mkdir()
        with tarfile.open(archive) as tar:
            tar.extractall(tmp_path / folder, filter="data")
        archived = Tree(tmp_path / folder, there=True)
        return archived.version()

    assert version("untagged") == f"{NEXT}.dev0"
    checkout.git("tag", "v9.7.3")
    assert version("tagged") == "9.7.3"


@needs_git
def test_shallow_clone_without_tags_has_a_version(checkout: Tree, tmp_path: pathlib.Path) -> None:
    """That is what most CI systems make."""
    checkout.git("tag", "v9.7.0")
    checkout.commit()
    clone = Tree(tmp_path / "clone", there=True)
    source = f"file://{checkout.path}"
    checkout.git("clone", "--quiet", "--depth=1", "--no-tags", source, str(clone.path))
    assert clone.version() == f"{NEXT}.dev1"


def test_version_without_git_is_the_first_on_the_way(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """And nothing is said about it; the environment may name another."""
    assert tree.version() == f"{NEXT}.dev0"
    assert capfd.readouterr() == ("", "")
    monkeypatch.setenv(NAMED, "9.7.1")
    assert tree.version() == "9.7.1"
    monkeypatch.setenv(NAMED, "")
    assert tree.version() == f"{NEXT}.dev0"


@needs_git
@pytest.mark.parametrize("trouble", ["no program", "broken", "no repository"])
def test_git_that_has_no_answer_costs_a_line(
    checkout: Tree,
    trouble: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """And no build."""
    git = checkout.path / ".git"
    if trouble == "no program":
        monkeypatch.setenv("PATH", str(checkout.path))
    elif trouble == "broken":
        (git / "HEAD").unlink()
    else:
        shutil.rmtree(git)
        git.write_text("gitdir: /nonexistent/worktree\n", encoding="ascii")
    assert checkout.version() == f"{NEXT}.dev0"
    (line,) = capfd.readouterr().out.splitlines()
    assert line.startswith(f"asyncrev: built as {NEXT}.dev0, since git has no answer: ")


@needs_git
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_checkout_of_another_user_has_its_version(
    checkout: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git refuses there ("dubious ownership") until it is told that the folder is safe."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for folder in (checkout.path, checkout.path / ".git"):
        os.chown(folder, 12345, 12345)
    with pytest.raises(subprocess.CalledProcessError):
        checkout.git("status")
    assert checkout.version() == f"{NEXT}.dev1"


@needs_git
def test_editable_installation_tells_the_version_that_pip_shows(checkout: Tree) -> None:
    """It is written beside the module that reads it, not through a link to another tree's file."""
    written = checkout.path / "asyncrev" / "version.txt"
    other = checkout.path / "other.txt"
    other.write_text("1.1.1\n", encoding="ascii")
    os.link(other, written)
    program = "from setuptools.build_meta import build_editable; build_editable('.')"
    checkout.python("-c", program)
    assert [path.name for path in checkout.path.glob("*.whl")] == [
        f"asyncrev-{NEXT}.dev1-0.editable-py3-none-any.whl"
    ]
    assert written.read_text(encoding="ascii") == f"{NEXT}.dev1\n"
    assert other.read_text(encoding="ascii") == "1.1.1\n"


@needs_git
def test_sdist_keeps_the_version_and_a_wheel_of_it_tells_it(
    checkout: Tree, tmp_path: pathlib.Path
) -> None:
    """Without git; what an earlier installation wrote is in neither."""
    checkout.git("tag", "v9.8.0")
    written = checkout.path / "asyncrev" / "version.txt"
    shutil.copy(ROOT / ".gitignore", checkout.path)
    checkout.git("add", ".gitignore")
    checkout.git("commit", "--quiet", "--amend", "--message", "With .gitignore")
    checkout.git("tag", "--force", "v9.8.0")
    written.write_text("1.1.1\n", encoding="ascii")
    checkout.python("setup.py", "--quiet", "sdist")
    assert written.read_text(encoding="ascii") == "1.1.1\n"
    with tarfile.open(checkout.path / "dist" / "asyncrev-9.8.0.tar.gz") as tar:
        assert "asyncrev-9.8.0/asyncrev/version.txt" not in tar.getnames()
        tar.extractall(tmp_path, filter="data")
    unpacked = Tree(tmp_path / "asyncrev-9.8.0", there=True)
    unpacked.python("setup.py", "--quiet", "bdist_wheel")
    wheel = zipfile.ZipFile(unpacked.path / "dist" / "asyncrev-9.8.0-py3-none-any.whl")
    assert wheel.read("asyncrev/version.txt") == b"9.8.0\n"
