"""entry: what the command imports, and when."""

import os
import subprocess
import sys

import pytest

from asyncrev.native.choice import KERNELS
from tests.support import run_asyncrev

HEAVY = {"asyncio", "logging", "numpy", "socket", "ssl"}


@pytest.mark.parametrize(
    ("args", "imported"),
    [
        (["--version"], set()),
        (["--help"], set()),
        (["serve", "--help"], set()),
        (["serve", "--port", "x"], {"logging"}),
        (["serve", "--processor", "builtins:bytes.upper", "--fd", "99"], HEAVY - {"numpy"}),
        # Before it listens, so that no client waits for it; native kernels do without.
        (["serve", "--fd", "99"], HEAVY if KERNELS is None else HEAVY - {"numpy"}),
    ],
)
def test_command_imports_what_it_needs(args: list[str], imported: set[str]) -> None:
    """Help and version come without asyncio; NumPy only with a processor that uses it."""
    code = (
        "import atexit, sys\n"
        f"sys.argv = ['asyncrev', *{args!r}]\n"
        "from asyncrev.command.entry import main\n"
        f"tell = lambda: print('imported', *sorted({HEAVY!r} & {{*sys.modules}}), flush=True)\n"
        "atexit.register(tell)\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    told = done.stdout.splitlines()[-1].split()
    assert told[0] == "imported", done.stderr
    assert set(told[1:]) == imported


@pytest.mark.parametrize("args", [["--version"], ["serve", "--port", "0"]])
def test_plane_that_is_unknown_is_one_line_and_a_usage_error(args: list[str]) -> None:
    """Nothing is served with other kernels than were asked for."""
    done = run_asyncrev(*args, env=os.environ | {"ASYNCREV_PLANE": "c"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "asyncrev: error: ASYNCREV_PLANE is 'c'; it must be one of auto, python, native\n"
    )
