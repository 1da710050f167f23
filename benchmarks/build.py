"""Compiles the C programs, once for each version of their source."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

__all__ = ["COMPILER", "compiled", "have_compiler", "load_generator", "native"]

HERE = Path(__file__).parent
COMPILER = os.environ.get("CC", "gcc")
FLAGS = ["-O3", "-march=native", "-std=gnu11", "-Wall", "-Wextra"]


def have_compiler() -> bool:
    """Return whether there is something to compile with."""
    return shutil.which(COMPILER) is not None


def compiled(
    name: str,
    *more_flags: str,
    libraries: tuple[str, ...] = (),
    directory: Path | None = None,
) -> Path:
    """Return the program made of `name`.c, from the cache if it is there.

    `libraries`: flags for the linker, which stand behind the source.

    Raises:
        RuntimeError: it cannot be compiled; has what the compiler said.
    """
    source = HERE / f"{name}.c"
    flags = [*FLAGS, *more_flags]
    text = b"".join(path.read_bytes() for path in (source, *sorted(HERE.glob("*.h"))))
    key = hashlib.sha256(text + repr((COMPILER, flags, libraries)).encode()).hexdigest()[:16]
    if directory is None:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        directory = Path(cache) / "asyncrev-benchmarks"
    program = directory / f"{name}-{key}"
    if program.exists():
        return program
    directory.mkdir(parents=True, exist_ok=True)
    partial = program.with_suffix(f".{os.getpid()}")  # two runs at once do not see half a program
    command = [COMPILER, *flags, "-o", str(partial), str(source), *libraries]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except FileNotFoundError:
        raise RuntimeError(f"there is no {COMPILER}, which the benchmarks need") from None
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    partial.rename(program)
    return program


_OPENSSL = ("-lssl", "-lcrypto")


def load_generator(*, tls: bool) -> Path:
    """Return the load generator. Raises: as `compiled`."""
    if tls:
        return compiled("loadgen", "-DWITH_TLS", libraries=_OPENSSL)
    return compiled("loadgen")


def native(*, tls: bool) -> Path:
    """Return the server in C. Raises: as `compiled`."""
    return compiled("native_tls", libraries=_OPENSSL) if tls else compiled("native")
