"""Builds of the C sources for tests: the core with a driver, and the extension with options."""

import pathlib
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence

import pytest

from tests.support import ROOT

NATIVE = ROOT / "asyncrev" / "native"
HERE = ROOT / "tests" / "native"
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1")
_WARNINGS = ("-Wall", "-Wextra", "-Wshadow", "-Werror")
HEADERS = pathlib.Path(sysconfig.get_path("include"))
_GIL = not sysconfig.get_config_var("Py_GIL_DISABLED")
# As setup.py does.
_LIMITED = ("-DPy_LIMITED_API=0x030B0000",) if _GIL else ()
_SUFFIX = ".abi3.so" if _GIL else sysconfig.get_config_var("EXT_SUFFIX")

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")


def build_fuzz(target: pathlib.Path, native: pathlib.Path = NATIVE) -> pathlib.Path:
    """Build the fuzz target into the folder `target`, with sanitizers; return the program.

    Raises:
        subprocess.CalledProcessError: it does not compile; what gcc says is on stderr.
    """
    program = target / "kernels_fuzz"
    sources = (HERE / "kernels_fuzz.c", native / "kernels_core.c")
    subprocess.run(
        ["gcc", "-std=gnu11", *SANITIZERS, *_WARNINGS, f"-I{native}", *sources, "-o", program],
        check=True,
    )
    return program


def build_module(target: pathlib.Path, options: Sequence[str], native: pathlib.Path) -> None:
    """Build the extension into `target`, from the sources in `native`.

    Raises:
        subprocess.CalledProcessError: it does not compile; what gcc says is on stderr.
    """
    command = ["gcc", "-std=c11", *_LIMITED, *options, *_WARNINGS, "-fPIC", "-shared"]
    sources = (native / "kernels_module.c", native / "kernels_core.c")
    subprocess.run(
        [*command, f"-isystem{HEADERS}", *sources, "-o", target / f"_kernels{_SUFFIX}"], check=True
    )


def run_fuzz(program: pathlib.Path, inputs: int, seed: int) -> "subprocess.CompletedProcess[str]":
    """Run the fuzz target to its end."""
    return subprocess.run(
        [program, str(inputs), str(seed)], capture_output=True, text=True, check=False
    )
