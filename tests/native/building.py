"""Builds of the C sources for tests: the core with a driver, and the extension with options."""

import importlib.util
import os
import pathlib
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence

import pytest

from tests.support import DEADLINE_S, ROOT

NATIVE = ROOT / "asyncrev" / "native"
HERE = ROOT / "tests" / "native"
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1")
# It knows nothing of fences, and gcc warns of that. They only order flags and cursors, which are
# atomic; what is in rows and slots is handed on by a release and an acquire, as it wants.
THREAD_SANITIZER = ("-fsanitize=thread", "-Wno-tsan", "-g", "-O1")
WEAK_MEMORY = ("-include", str(HERE / "weak_memory.h"), "-O1")
# Seconds without any progress that say that a wake-up was lost.
QUIET_S = max(3.0, DEADLINE_S)
_WARNINGS = ("-Wall", "-Wextra", "-Wshadow", "-Werror")
HEADERS = pathlib.Path(sysconfig.get_path("include"))
_GIL = not sysconfig.get_config_var("Py_GIL_DISABLED")


def _sources() -> dict[str, tuple[str, ...]]:
    """Return what each extension is made of, and each core without Python, as setup.py says."""
    spec = importlib.util.spec_from_file_location("asyncrev_setup", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {
        "_kernels": module.KERNELS,
        "_plane": module.PLANE,
        "kernels_core": module.KERNELS_CORE,
        "plane_core": module.PLANE_CORE,
    }


_MADE_OF = _sources()
SOURCES = {name: _MADE_OF[name] for name in ("_kernels", "_plane")}
# As setup.py does.
_LIMITED = ("-DPy_LIMITED_API=0x030B0000",) if _GIL else ()
_SUFFIX = ".abi3.so" if _GIL else sysconfig.get_config_var("EXT_SUFFIX")

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")


def core(name: str, native: pathlib.Path) -> list[pathlib.Path]:
    """Return the C sources of the core `name`, without Python, in the folder `native`."""
    return [native / f"{source}.c" for source in _MADE_OF[name]]


def build_fuzz(target: pathlib.Path, native: pathlib.Path = NATIVE) -> pathlib.Path:
    """Build the fuzz target into the folder `target`, with sanitizers; return the program.

    Raises:
        subprocess.CalledProcessError: it does not compile; what gcc says is on stderr.
    """
    program = target / "kernels_fuzz"
    sources = (HERE / "kernels_fuzz.c", *core("kernels_core", native))
    subprocess.run(
        ["gcc", "-std=gnu11", *SANITIZERS, *_WARNINGS, f"-I{native}", *sources, "-o", program],
        check=True,
    )
    return program


def build_stress(
    target: pathlib.Path, options: Sequence[str], native: pathlib.Path = NATIVE
) -> pathlib.Path:
    """Build the stress program of the plane's core into `target`; return the program.

    Raises:
        subprocess.CalledProcessError: it does not compile; what gcc says is on stderr.
    """
    program = target / "plane_stress"
    sources = (HERE / "plane_stress.c", *core("plane_core", native))
    command = ["gcc", "-std=gnu11", *_WARNINGS, *options, f"-I{native}", "-Dsyscall=stress_syscall"]
    subprocess.run([*command, *sources, "-o", program, "-pthread"], check=True)
    return program


def can_link(options: Sequence[str]) -> bool:
    """Return whether gcc makes programs with these options: a sanitizer may be missing."""
    if shutil.which("gcc") is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        source, program = pathlib.Path(folder, "empty.c"), pathlib.Path(folder, "empty")
        source.write_text("int main(void) { return 0; }\n", encoding="utf-8")
        built = subprocess.run(
            ["gcc", *options, source, "-o", program], capture_output=True, check=False
        )
        # A sanitizer may not work where addresses are more random than it knows.
        return not built.returncode and not subprocess.run([program], check=False).returncode


def run_stress(
    program: pathlib.Path, rounds: int, seed: int, seconds: float
) -> "subprocess.CompletedProcess[str]":
    """Run the stress program to its end, for `rounds` or `seconds` at most."""
    environment = os.environ | {"TSAN_OPTIONS": "halt_on_error=1", "STRESS_QUIET_S": str(QUIET_S)}
    return subprocess.run(
        [program, str(rounds), str(seed), str(seconds)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def build_module(
    target: pathlib.Path, options: Sequence[str], native: pathlib.Path, name: str = "_kernels"
) -> None:
    """Build the extension `name` into `target`, from the sources in `native`.

    Raises:
        subprocess.CalledProcessError: it does not compile; what gcc says is on stderr.
    """
    command = ["gcc", "-std=c11", *_LIMITED, *options, *_WARNINGS, "-fPIC", "-shared"]
    sources = [native / f"{source}.c" for source in SOURCES[name]]
    subprocess.run(
        [*command, f"-isystem{HEADERS}", *sources, "-o", target / f"{name}{_SUFFIX}"], check=True
    )


def run_fuzz(program: pathlib.Path, inputs: int, seed: int) -> "subprocess.CompletedProcess[str]":
    """Run the fuzz target to its end."""
    return subprocess.run(
        [program, str(inputs), str(seed)], capture_output=True, text=True, check=False
    )
