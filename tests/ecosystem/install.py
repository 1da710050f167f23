"""Install the dependency group `ecosystem` as wheels; name what has none for this interpreter.

The tests of a package that is missing skip themselves. Exit status: 0 everything else is
installed, 1 pip failed for another reason than a missing wheel.
"""

import pathlib
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).parents[2]
NO_WHEEL = ("No matching distribution found", "Could not find a version")


def requirements() -> list[str]:
    """Return the packages of the group; what it includes of others is installed already."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    return [listed for listed in groups["ecosystem"] if isinstance(listed, str)]


def install(*wanted: str) -> "subprocess.CompletedProcess[str]":
    """Install wheels of all that is wanted, or nothing."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    return subprocess.run(
        [*pip, "--only-binary", ":all:", *wanted], stderr=subprocess.PIPE, text=True
    )


def main() -> int:
    """Install all at once, or else one by one."""
    wanted = requirements()
    if install(*wanted).returncode == 0:
        return 0
    for requirement in wanted:
        done = install(requirement)
        if done.returncode and not any(text in done.stderr for text in NO_WHEEL):
            print(done.stderr, file=sys.stderr)
            return 1
        if done.returncode:
            print(f"skipped: {requirement} has no wheel for this interpreter, or needs one")
    return 0


if __name__ == "__main__":
    sys.exit(main())
