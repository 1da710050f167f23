"""completion_cli: prints a script, or names the shells."""

import pytest

from asyncrev.command.cli import main
from asyncrev.command.completion import SHELLS, completion_script
from tests.command_line import invoke


@pytest.mark.parametrize("shell", SHELLS)
def test_script_is_printed(shell: str) -> None:
    """As it is installed with a wheel."""
    result = invoke("completion", shell)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == completion_script(main, shell)


@pytest.mark.parametrize("args", [(), ("tcsh",)])
def test_other_shells_are_refused(args: tuple[str, ...]) -> None:
    """In one line."""
    result = invoke("completion", *args)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("asyncrev: error: ")
