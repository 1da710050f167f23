"""setup.py: wheels with kernels and without, and what is said where they cannot be built."""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest

from tests.native.building import SOURCES
from tests.support import ROOT

COPIED = ("LICENSE", "README.md", "pyproject.toml", "setup.py")
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
HEADERS = pathlib.Path(sysconfig.get_path("include"), "Python.h")
needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None or not HEADERS.is_file(), reason="there is no C compiler"
)


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of what a build needs, without what an earlier one left."""
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(ROOT / "asyncrev", tmp_path / "asyncrev", ignore=ignored)
    shutil.copytree(ROOT / "packaging" / "share", tmp_path / "packaging" / "share")
    for name in COPIED:
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def build(
    tree: pathlib.Path, what: str = "bdist_wheel", **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Build a wheel into `tree`/dist, as pip does, without a line per file."""
    command = [sys.executable, "-W", "ignore", "setup.py", "--quiet", what]
    return subprocess.run(
        command,
        cwd=tree,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def built(tree: pathlib.Path) -> tuple[str, list[str]]:
    """Return the tag of the wheel, and what it has of the package `native`."""
    (path,) = (tree / "dist").iterdir()
    names = zipfile.ZipFile(path).namelist()
    prefix = "asyncrev/native/"
    native = sorted(name.removeprefix(prefix) for name in names if name.startswith(prefix))
    assert "asyncrev/py.typed" in names
    return path.stem.partition("-")[2].partition("-")[2], native


PYTHON_FILES = ["__init__.py", "choice.py", "kernels.py", "plane.py"]


@needs_compiler
def test_wheel_with_kernels_is_for_one_platform_and_all_versions(tree: pathlib.Path) -> None:
    """From 3.11 on, with a GIL; a free-threaded one is for its version. It has no C sources."""
    done = build(tree, ASYNCREV_BUILD="native")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    tag, native = built(tree)
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    if FREE_THREADED:
        version = f"cp{sys.version_info.major}{sys.version_info.minor}"
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        assert tag == f"{version}-{version}t-{platform}"
        assert native == sorted([*PYTHON_FILES, f"_kernels{suffix}", f"_plane{suffix}"])
    else:
        assert tag == f"cp311-abi3-{platform}"
        assert native == sorted([*PYTHON_FILES, "_kernels.abi3.so", "_plane.abi3.so"])


@needs_compiler
@pytest.mark.skipif(sys.version_info < (3, 13), reason="there are no free-threaded headers")
def test_extension_compiles_for_a_python_without_a_gil(tmp_path: pathlib.Path) -> None:
    """With the headers of this version, which serve both."""
    command = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-c", f"-isystem{HEADERS.parent}"]
    command += [] if FREE_THREADED else ["-DPy_GIL_DISABLED=1"]
    for source in {source for sources in SOURCES.values() for source in sources}:
        path = ROOT / "asyncrev" / "native" / f"{source}.c"
        subprocess.run([*command, path, "-o", tmp_path / f"{source}.o"], check=True)
        assert (tmp_path / f"{source}.o").stat().st_size > 0


@pytest.mark.parametrize("words", ["", "echo 'cc: fatal error: out of order' >&2"])
def test_compiler_that_fails_costs_one_line_and_the_kernels(tree: pathlib.Path, words: str) -> None:
    """The wheel is for all platforms then."""
    compiler = tree / "broken-cc"
    compiler.write_text(f"#!/bin/sh\n{words}\nexit 1\n", encoding="ascii")
    compiler.chmod(0o755)
    done = build(tree, CC=str(compiler), ASYNCREV_BUILD="auto")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith("asyncrev: built without its native code, in Python only: ")
    assert ("out of order" if words else "broken-cc") in line
    assert built(tree) == ("py3-none-any", PYTHON_FILES)


def test_without_a_compiler_the_line_names_the_one_that_is_missing(tree: pathlib.Path) -> None:
    """It is what has to be installed."""
    done = build(tree, CC="no-such-compiler", ASYNCREV_BUILD="auto")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1), done.stderr
    assert "no-such-compiler" in done.stdout
    assert built(tree) == ("py3-none-any", PYTHON_FILES)


def test_metadata_are_made_without_a_compiler_and_a_word(tree: pathlib.Path) -> None:
    """pip asks for them first, in a process of their own; the one line comes with the wheel."""
    done = build(tree, "dist_info", CC="no-such-compiler", ASYNCREV_BUILD="auto")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert list(tree.glob("asyncrev-*.dist-info/METADATA"))


def test_pure_wheel_can_be_asked_for(tree: pathlib.Path) -> None:
    """With a compiler, too; there is nothing to say about it."""
    done = build(tree, ASYNCREV_BUILD="pure")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert built(tree) == ("py3-none-any", PYTHON_FILES)


def test_kernels_that_are_demanded_and_cannot_be_built_are_an_error(tree: pathlib.Path) -> None:
    """For those who make the wheels."""
    done = build(tree, CC="no-such-compiler", ASYNCREV_BUILD="native")
    assert done.returncode != 0
    assert "no-such-compiler" in done.stderr
    assert not (tree / "dist").exists()


def test_unknown_mode_is_refused(tree: pathlib.Path) -> None:
    """With those that there are."""
    done = build(tree, ASYNCREV_BUILD="c")
    assert done.returncode == 1
    assert done.stderr == "ASYNCREV_BUILD is 'c'; it must be one of auto, native, pure\n"


def other_headers() -> list[pathlib.Path]:
    """Return the folders of headers of other versions that asyncrev supports, under pyenv."""
    root = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv"))
    found = sorted(root.glob("versions/*/include/python3.1[1-9]"))
    return [path for path in found if path != HEADERS.parent]


# In a process of its own, because a wrong count ends it.
COUNTS = """
import importlib.util, sys

def load(name, path):
    spec = importlib.util.spec_from_file_location(f"asyncrev.native.{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

kernels, plane = load("_kernels", sys.argv[1]), load("_plane", sys.argv[2])
chunk = memoryview(bytearray(100))
work, parker = plane.Work(), plane.Parker()
ring, signal = plane.Ring(2, 64), plane.DeliverySignal(lambda: None)
calls = [
    lambda: kernels.reverse(chunk),
    lambda: kernels.reverse_lines(chunk),
    lambda: kernels.reverse_runs(chunk, [(0, 4, 1)], 4),
    lambda: work.use_kernel(1, 0),
    lambda: work.plain,
    lambda: setattr(work, "plain", None),
    lambda: signal.clear(),
    lambda: signal.hold(),
    lambda: signal.request(),
    lambda: parker.unpark(),
    lambda: ring.close_output(),
    lambda: ring.release(0),
    lambda: ring.input_closed,
    lambda: ring.try_claim(small=True),
    lambda: plane.Plane(ring, 1, 1).row(5),
]
for number, call in enumerate(calls):
    call()
    before = [sys.getrefcount(each) for each in (None, True, False)]
    for _ in range(200):
        call()
    after = [sys.getrefcount(each) for each in (None, True, False)]
    assert all(abs(a - b) < 50 for a, b in zip(after, before)), (number, before, after)
print("counted")
"""


@needs_compiler
@pytest.mark.skipif(FREE_THREADED, reason="its extension is for its version only")
@pytest.mark.parametrize("headers", other_headers(), ids=lambda path: str(path.name))
def test_extension_built_for_another_version_counts_references(
    tmp_path: pathlib.Path, headers: pathlib.Path
) -> None:
    """One file serves all versions from 3.11 on, whichever has built it.

    Some have objects that are never freed, and macros that rely on it.
    """
    paths = []
    for name, sources in SOURCES.items():
        path = tmp_path / f"{name}.abi3.so"
        files = [ROOT / "asyncrev" / "native" / f"{source}.c" for source in sources]
        command = ["cc", "-std=c11", "-O1", "-fPIC", "-shared", "-DPy_LIMITED_API=0x030B0000"]
        subprocess.run([*command, f"-isystem{headers}", *files, "-o", path], check=True)
        paths.append(path)
    done = subprocess.run(
        [sys.executable, "-c", COUNTS, *paths],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"ASYNCREV_PLANE": "python"},
    )
    assert (done.returncode, done.stdout) == (0, "counted\n"), done.stderr
