"""completion: bash, with the script sourced, gets commands, options and values."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from asyncrev.command.cli import main
from asyncrev.command.completion import SHELLS, completion_script


def completed(tmp_path: Path, *words: str) -> list[str]:
    """Return what bash offers for the last of the words."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    program = tmp_path / "asyncrev"
    program.write_text(
        f"#!{sys.executable}\nfrom asyncrev.command.entry import main\nmain()\n", encoding="utf-8"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    script = (
        f"{completion_script(main, 'bash')}\n"
        f"COMP_WORDS=({' '.join(map(repr, words))}); COMP_CWORD={len(words) - 1}\n"
        '_asyncrev_completion asyncrev; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = f"{tmp_path}:{os.environ['PATH']}"
    run = subprocess.run(
        [bash, "--norc", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": path},
    )
    assert run.stderr == ""
    return run.stdout.split()


@pytest.mark.parametrize(
    ("words", "some"),
    [
        (("asyncrev", ""), {"serve", "send", "top", "config", "completion"}),
        (("asyncrev", "se"), {"serve", "send"}),
        (("asyncrev", "config", "s"), {"show"}),
        (("asyncrev", "serve", "--max-c"), {"--max-connections", "--max-connections-per-ip"}),
        (("asyncrev", "serve", "--framing", "len"), {"len32", "len64"}),
        (("asyncrev", "send", "--exp"), {"--expect"}),
        (("asyncrev", "completion", ""), set(SHELLS)),
    ],
)
def test_bash_completes(words: tuple[str, ...], some: set[str], tmp_path: Path) -> None:
    """And offers nothing that does not begin so."""
    found = completed(tmp_path, *words)
    assert some <= set(found)
    assert all(one.startswith(words[-1]) for one in found)


@pytest.mark.parametrize("shell", SHELLS)
def test_script_is_taken_by_its_shell(shell: str) -> None:
    """Where it is installed; its syntax alone is checked."""
    script = completion_script(main, shell)
    assert f"_ASYNCREV_COMPLETE={shell}_complete" in script
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    run = subprocess.run([program, "-n"], input=script, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
