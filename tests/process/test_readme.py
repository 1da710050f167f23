"""README.md: its ten lines are a program that does what the page says."""

import os
import re
import subprocess
import sys

import pytest

from tests.support import DEADLINE_S, ROOT
from tests.unit.test_docs import snippets, text_of

PAGE = "README.md"

pytestmark = pytest.mark.process


def test_ten_lines_answer_as_the_page_shows() -> None:
    """The first snippet as a program, on a free port; the command below it, word for word."""
    code = snippets(PAGE)[0].replace("9090", "0")
    serve_forever = "await server.serve_forever()"
    assert code.count(serve_forever) == 1
    code = code.replace(serve_forever, f"print(server.port, flush=True); {serve_forever}")
    shown = re.search(r"^\$ (printf .+)\n((?:.+\n)+?)```", text_of(PAGE), re.M)
    assert shown is not None
    commands = os.path.dirname(sys.executable)  # where `asyncrev` is installed
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert process.stdout is not None
        port = process.stdout.readline().decode().strip()
        done = subprocess.run(
            ["sh", "-c", shown[1].replace("9090", port)],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
            env=os.environ | {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"},
        )
        assert done.stdout == shown[2], done.stderr
    finally:
        process.kill()
        process.communicate()


def test_ten_lines_are_about_ten() -> None:
    """Blank ones and imports aside."""
    lines = [line for line in snippets(PAGE)[0].splitlines() if line.strip()]
    assert len(lines) <= 10
