"""Runs the native code with AddressSanitizer and UndefinedBehaviorSanitizer, and ThreadSanitizer.

    python -m tests.native.sanitize [--inputs 200000] [--seconds 60]

First the cores: that of the kernels with the fuzz target, that of the plane with the stress
program, which ThreadSanitizer watches, too. Then the extensions in this interpreter, under the
tests that use them. Exits with 1 if anything was found, and says so in a line where something is
missing.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from tests.native.building import (
    HEADERS,
    SANITIZERS,
    SOURCES,
    THREAD_SANITIZER,
    WEAK_MEMORY,
    build_fuzz,
    build_module,
    build_stress,
    can_link,
    run_fuzz,
    run_stress,
)
from tests.support import ROOT

COPIED = ("asyncrev", "tests", "pyproject.toml", "setup.py", "README.md")
# What uses the kernels or the plane.
TESTS = (
    "tests/native/test_kernels.py",
    "tests/bench/test_hot.py",
    "tests/native/test_plane.py",
    "tests/native/test_plane_module.py",
    "tests/native/test_polls.py",
    "tests/frames",
    "tests/ring",
    "tests/bridge",
    "tests/work",
    "tests/protocol",
)
# These measure memory or run other interpreters.
_LEFT_OUT = (
    "not scratch and not few_objects and not interpreter and not numpy and not idle_session "
    "and not resident"
)


def sanitize_core(inputs: int, folder: pathlib.Path) -> bool:
    """Run the fuzz target; return whether all went well."""
    done = run_fuzz(build_fuzz(folder), inputs, seed=0)
    print("core:", done.stdout.strip(), done.stderr)
    return done.returncode == 0


def sanitize_plane(seconds: float, folder: pathlib.Path) -> bool:
    """Run the stress program with each sanitizer, and with late stores; return whether all is well.

    `seconds`: of each.
    """
    good = True
    for options in (THREAD_SANITIZER, SANITIZERS, WEAK_MEMORY):
        if options is not WEAK_MEMORY and not can_link(options[:1]):
            print(f"gcc has no {options[0]} that works here: the plane was not run with it")
            continue
        done = run_stress(build_stress(folder, options), 1_000_000_000, 0, seconds)
        print("plane,", options[0], done.stdout.strip(), done.stderr)
        good = good and done.returncode == 0
    return good


def runtime() -> str:
    """Return the path of AddressSanitizer's library, or "" if gcc has none."""
    found = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return found if os.path.isabs(found) else ""


def sanitize_module(tests: Sequence[str], folder: pathlib.Path) -> bool:
    """Run `tests` with both extensions in a copy of the tree; return whether all passed."""
    tree = folder / "tree"
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.so")
            shutil.copytree(source, tree / name, ignore=ignored)
        else:
            shutil.copy(source, tree)
    native = tree / "asyncrev" / "native"
    for name in SOURCES:
        build_module(native, SANITIZERS, native, name)
    environment = os.environ | {
        "LD_PRELOAD": runtime(),
        # The interpreter frees little of what it has at its end.
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0",
        "PYTHONMALLOC": "malloc",  # each object is a block of its own, with guards around it
        "ASYNCREV_PLANE": "native",
        "PYTHONPATH": str(tree),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "300"]
    command += ["-o", "faulthandler_timeout=290", "-m", "not slow and not stress", "-n", "2"]
    command += ["-k", _LEFT_OUT, *tests]
    done = subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    print("module:", "\n".join(done.stdout.splitlines()[-30:] if done.returncode else []))
    print("\n".join(done.stdout.splitlines()[-1:]), done.stderr)
    return done.returncode == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=200_000, help="of the fuzz target")
    parser.add_argument("--seconds", type=float, default=60, help="of each stress of the plane")
    parser.add_argument("tests", nargs="*", default=TESTS, help="for the extensions")
    options = parser.parse_args(arguments)
    if shutil.which("gcc") is None:
        print("gcc is missing: nothing was sanitized")
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        good = sanitize_core(options.inputs, folder)
        good = sanitize_plane(options.seconds, folder) and good
        if not (HEADERS / "Python.h").is_file():
            print("Python.h is missing: the extensions were not sanitized")
        elif not runtime():
            print("gcc has no libasan.so: the extensions were not sanitized")
        else:
            good = sanitize_module(options.tests, folder) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
