"""Builds each seeded bug into a copy of the tree, and has the tests that must notice run there.

    python -m tests.mutants.run [--only TEXT]

Exits with 1 if a bug is not found, or if its tests fail without it.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from tests.mutants.seeded import BUGS, Bug
from tests.mutants.seeded_c import C_BUGS
from tests.mutants.seeded_pending import PENDING_BUGS
from tests.mutants.seeded_supervisor import SUPERVISOR_BUGS
from tests.native.building import HEADERS, build_module

__all__ = ["main", "with_bug"]

ROOT = pathlib.Path(__file__).parents[2]
COPIED = (
    *("asyncrev", "tests", "examples", "docs"),
    *("pyproject.toml", "setup.py", "Makefile", "README.md"),
)
MOST_S = 120.0  # of one bug's tests; a test that hangs has found it
_OPTIONS = (
    "-q",
    "-x",
    "-p",
    "no:cacheprovider",
    "--timeout",
    "30",
    "-m",
    "not slow and not stress",
)


def with_bug(text: str, bug: Bug) -> str:
    """Return the text of a module with `bug` in it.

    Raises:
        ValueError: what it changes is not there exactly once; gives the number.
    """
    times = text.count(bug.old)
    if times != 1:
        raise ValueError(f"{bug.name}: its text is {times} times in {bug.path}; change the table")
    return text.replace(bug.old, bug.new)


def passes(tree: pathlib.Path, tests: Sequence[str]) -> tuple[bool, str]:
    """Run `tests` in `tree`; return whether all passed, and what failed first, or pytest's end."""
    environment = os.environ | {
        "PYTHONDONTWRITEBYTECODE": "1",  # two bugs of one size in one second look alike
        "PYTHONPATH": str(tree),
        # The Python code, which most bugs are in; tests of the native kernels use these anyway.
        "ASYNCREV_PLANE": "python",
        # What will not come any more is waited for as long as a deadline lasts.
        "ASYNCREV_TEST_SCALE": "0.3",
    }
    command = [sys.executable, "-m", "pytest", *_OPTIONS, *tests]
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            timeout=MOST_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False, f"no end in {MOST_S:g} s"
    lines = done.stdout.splitlines()
    failed = [line.split(" - ")[0] for line in lines if line.startswith(("FAILED ", "ERROR "))]
    if done.returncode < 0:
        return False, f"ended by signal {-done.returncode}"
    if done.returncode not in (0, 1):  # not a test that failed: it could not run them
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    end = "\n".join(lines[-15:])
    return done.returncode == 0, failed[0].rpartition("::")[2] if failed else end


def can_build() -> bool:
    """Return whether C code can be built here."""
    return shutil.which("gcc") is not None and (HEADERS / "Python.h").is_file()


def put(tree: pathlib.Path, bug: Bug, text: str) -> None:
    """Write the file of `bug`; what was built of it is built again, but the plane's core.

    The tests of that build it themselves, with what they run it by.
    """
    (tree / bug.path).write_text(text, encoding="utf-8")
    if bug.suffix != ".py" and not bug.module.startswith("native.plane_core"):
        native = tree / "asyncrev" / "native"
        name = "_plane" if bug.module.startswith("native.plane_") else "_kernels"
        build_module(native, ["-O1"], native, name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try all bugs, or those with a text in their name; print a table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="a part of the names of the bugs to try")
    only = parser.parse_args(arguments).only
    c_bugs = C_BUGS if can_build() else ()
    if not c_bugs:
        print(f"gcc or Python.h is missing: {len(C_BUGS)} bugs in C were not tried")
    bugs = [bug for bug in (*BUGS, *PENDING_BUGS, *SUPERVISOR_BUGS, *c_bugs) if only in bug.name]
    with tempfile.TemporaryDirectory() as directory:
        tree = pathlib.Path(directory)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, tree)
        ok, said = passes(tree, sorted({test for bug in bugs for test in bug.tests}))
        if not ok:
            print(f"error: these tests fail without any bug:\n{said}", file=sys.stderr)
            return 1
        survivors = 0
        for bug in bugs:
            text = (tree / bug.path).read_text(encoding="utf-8")
            put(tree, bug, with_bug(text, bug))
            started_s = time.monotonic()
            survives, said = passes(tree, bug.tests)
            took_s = time.monotonic() - started_s
            put(tree, bug, text)
            survivors += survives
            found = "NOT FOUND" if survives else said
            print(f"{bug.module}: {bug.name} | {found} | {took_s:.1f} s", flush=True)
    print(f"{len(bugs) - survivors} of {len(bugs)} seeded bugs were found")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
