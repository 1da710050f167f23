"""A clean environment, what is installed into it, and programs that run in it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.artefacts.pythons import Python

__all__ = ["Environment"]

UV = str(Path(sys.executable).with_name("uv"))
MOST_S = 120.0  # for one program, and for one installation on a slow network


class Environment:
    """A virtual environment of one Python, and an empty folder beside it, until it is closed.

    Attributes:
        prefix: where it is.
        folder: where its programs run.
        short: a folder for UNIX sockets, whose paths have 107 bytes at most.
    """

    def __init__(self, python: Python, folder: Path) -> None:
        self.python = python
        self.prefix, self.folder = folder / "environment", folder / "work"
        self.folder.mkdir()
        self.short = Path(tempfile.mkdtemp(prefix="arv-"))
        self._uv("venv", "--python", python.path, str(self.prefix))

    def __enter__(self) -> "Environment":
        return self

    def __exit__(self, *_: object) -> None:
        for folder in (self.short, self.prefix):
            shutil.rmtree(folder, ignore_errors=True)

    def install(self, *requirements: str, **variables: str) -> None:
        """Install by uv, with its options."""
        self._uv("pip", "install", "--compile-bytecode", *requirements, **variables)

    def install_by_pip(self, *requirements: str, **variables: str) -> None:
        """Install by the pip that comes with this Python."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        for command in (["-m", "ensurepip"], ["-m", "pip", "install", *requirements]):
            done = subprocess.run(
                [str(self.executable("python")), *command],
                env=environment | variables,
                capture_output=True,
                text=True,
                timeout=MOST_S,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr

    def installed(self) -> dict[str, str]:
        """Return the version of each distribution in it."""
        listed = json.loads(self._uv("pip", "list", "--format", "json"))
        return {each["name"]: each["version"] for each in listed}

    def check(self) -> None:
        """Fail if what is installed does not fit together."""
        self._uv("pip", "check")

    def executable(self, name: str) -> Path:
        """Return a command of it."""
        return self.prefix / "bin" / name

    def run(
        self, *command: str, code: int | Sequence[int] = 0, stdin: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command of it to its end; fail unless it exits with (one of) `code`."""
        done = subprocess.run(
            [str(self.executable(command[0])), *command[1:]],
            input=stdin,
            timeout=MOST_S,
            check=False,
            text=True,
            **self.options(),
        )
        expected = (code,) if isinstance(code, int) else code
        assert done.returncode in expected, (command, done.returncode, done.stdout, done.stderr)
        return done

    def options(self) -> dict[str, Any]:
        """Return how to start a process of it: in its folder, and with nothing of ours."""
        paths = (str(self.prefix / "bin"), "/usr/bin", "/bin")
        variables = {"HOME": str(self.folder), "PATH": os.pathsep.join(paths), "NO_COLOR": "1"}
        return {
            "cwd": self.folder,
            "env": {**variables, "LANG": "C.UTF-8"},
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }

    def _uv(self, *command: str, **variables: str) -> str:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        environment["VIRTUAL_ENV"] = str(self.prefix)
        done = subprocess.run(
            [UV, "--no-config", "--quiet", *command],
            env=environment | variables,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=MOST_S,
            check=False,
        )
        assert done.returncode == 0, f"uv {' '.join(command)}: {done.stderr}"
        return done.stdout
