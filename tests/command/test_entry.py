"""entry: what the command imports, and when."""

import subprocess
import sys

import pytest

HEAVY = {"asyncio", "logging", "numpy", "socket", "ssl"}


@pytest.mark.parametrize(
    ("args", "imported"),
    [
        (["--version"], set()),
        (["--help"], set()),
        (["serve", "--help"], set()),
        (["serve", "--port", "x"], {"logging"}),
        (["serve", "--processor", "builtins:bytes.upper", "--fd", "99"], HEAVY - {"numpy"}),
        (["serve", "--fd", "99"], HEAVY),  # before it listens, so that no client waits for it
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
