"""top_cli: `asyncrev top` as it is typed; what it shows is tested beside `command.top`."""

import subprocess
import sys

import pytest

from tests.command_line import invoke


def test_help_lists_it_and_has_its_keys() -> None:
    """Beside serve and config."""
    assert "top Show what a server does" in " ".join(invoke("--help").output.split())
    text = " ".join(invoke("top", "--help").output.split())
    assert "Keys: c, b and i sort connections" in text
    assert "--interval SECONDS" in text
    assert "Exit codes: 0 by q" in text


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ((), 2, "--admin is missing"),
        (("--admin", "nonsense"), 2, "--admin"),
        (("--admin", "unix:/x", "--interval", "soon"), 2, "--interval"),
        (("--admin", "unix:/nowhere/\x1b[2J", "--once"), 1, "no server listens there"),
    ],
)
def test_mistake_is_one_line_and_an_exit_code(args: tuple[str, ...], code: int, words: str) -> None:
    """Without control characters."""
    result = invoke("top", *args, env={"ASYNCREV_ADMIN": ""})
    assert result.exit_code == code
    (line,) = result.stderr.splitlines()
    assert line.startswith("asyncrev: error: ")
    assert words in line
    assert line.isprintable()


def test_serve_imports_nothing_of_it() -> None:
    """Nor does the help."""
    code = (
        "import sys; from asyncrev.command import cli, serving; "
        "print(sorted(name for name in sys.modules if name.startswith('asyncrev.command.top')))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
