"""Where figures come from: machine, Python, packages, commit."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.build import COMPILER

__all__ = ["ROOT", "describe", "one_line"]

ROOT = Path(__file__).parents[1]
PACKAGES = ["asyncrev", "numpy", "uvloop", "aiofastnet", "janus", "culsans"]


def describe() -> dict[str, Any]:
    """Return all that a reader must know to compare figures with others."""
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": f"{platform.system()} {platform.release()}",
        "virtual": _is_virtual(),
        "load_average_before": round(os.getloadavg()[0], 2),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "gil": gil,
        "compiler": _output([COMPILER, "--version"]).partition("\n")[0],
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": _commit(),
    }


def one_line(machine: dict[str, Any]) -> str:
    """Return the same for people."""
    packages = ", ".join(f"{name} {v}" for name, v in machine["packages"].items() if v)
    return (
        f"{machine['cpu']}, {machine['cores']} cores{' (virtual)' if machine['virtual'] else ''}, "
        f"{machine['kernel']}, {machine['python']}{'' if machine['gil'] else ' without GIL'}, "
        f"{packages}, commit {machine['commit']}"
    )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model", "cpu model"):
            return value.strip()
    return platform.machine()


def _is_virtual() -> bool:
    try:
        return " hypervisor " in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    git = ["git", "--no-optional-locks", "-C", str(ROOT)]
    commit = _output([*git, "rev-parse", "--short=12", "HEAD"])
    if not commit:
        return "unknown"
    changed = _output([*git, "status", "--porcelain", "--", "asyncrev"])
    return commit + (" with changes" if changed else "")


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
