"""The Pythons of this machine that asyncrev supports, found as .ci/run finds them."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Python", "pythons"]

# Asked of the interpreter itself: a pyenv shim may exist for a version that is not there.
_ASK = """
import ensurepip, json, sys, sysconfig, venv
free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
print(json.dumps([sys.implementation.name, *sys.version_info[:2], free_threaded, sys.executable]))
"""


@dataclass(frozen=True)
class Python:
    """An interpreter."""

    major: int
    minor: int
    free_threaded: bool
    path: str

    @property
    def name(self) -> str:
        """3.13, or 3.13t if it has no GIL."""
        return f"{self.major}.{self.minor}{'t' if self.free_threaded else ''}"

    @property
    def abi(self) -> str:
        """The tag of its own ABI, as in the name of a wheel."""
        return f"cp{self.major}{self.minor}{'t' if self.free_threaded else ''}"


def pythons() -> list[Python]:
    """Return one interpreter per minor version from 3.11 on, the one that runs this first."""
    candidates = [sys.executable]
    for minor in range(11, 30):
        for flavour in ("", "t"):
            found = shutil.which(f"python3.{minor}{flavour}")
            candidates += [found] if found else []
    for root in (os.environ.get("PYENV_ROOT"), "~/.pyenv"):
        if root:
            folders = Path(root).expanduser().glob("versions/*/bin/python")
            candidates += sorted(str(path) for path in folders)
    by_name: dict[str, Python] = {}
    for candidate in candidates:
        python = _asked(candidate)
        if python is not None:
            by_name.setdefault(python.name, python)
    return list(by_name.values())


def _asked(path: str) -> Python | None:
    try:
        done = subprocess.run(
            [path, "-I", "-c", _ASK], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    implementation, major, minor, free_threaded, executable = json.loads(done.stdout)
    if implementation != "cpython" or (major, minor) < (3, 11):
        return None
    # That of an environment would be made into an environment of it; what it is made of is meant.
    return Python(major, minor, free_threaded, _base(executable))


def _base(executable: str) -> str:
    config = Path(executable).parents[1] / "pyvenv.cfg"
    if not config.is_file():
        return executable
    home = re.search(r"^home = (.+)$", config.read_text(encoding="utf-8"), re.MULTILINE)
    return str(Path(home[1], "python3")) if home else executable
