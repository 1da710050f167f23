"""docs/tutorial.md goes as it says: its files, its commands in a shell, and what they print."""

import contextlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import DEADLINE_S, ROOT, ServerProcess, serving
from tests.unit.test_docs import FENCE, text_of

PAGE = "docs/tutorial.md"
BLOCKS = FENCE.findall(text_of(PAGE))
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"  # of a line of the log

pytestmark = pytest.mark.process


def commands_of(block: str) -> list[tuple[str, str]]:
    """Return the commands of a console block, each with what the page shows of its output."""
    return re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", block, re.M)


class Reader:
    """Somebody who follows the page, in an empty folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.files: dict[str, str] = {}
        self.port = 0
        self.server: ServerProcess | None = None
        self.running = contextlib.ExitStack()
        self.log = ""
        self.failed = ""
        self.ran: list[str] = []
        bin_folder = folder / "bin"
        bin_folder.mkdir()
        (bin_folder / "python").symlink_to(sys.executable)
        monkeypatch.chdir(folder)
        monkeypatch.setenv("PATH", str(bin_folder), prepend=":")
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def save(self, code: str) -> None:
        """Save a block that begins with the name of its file."""
        name = re.match(r"# (\w+\.py)\n", code)
        assert name is not None, code
        self.files[name[1]] = code
        self.write_files()

    def write_files(self) -> None:
        """Write all files, for the port of the server that runs."""
        for name, code in self.files.items():
            (self.folder / name).write_text(code.replace("9090", str(self.port)))

    def stop(self) -> None:
        """Stop the server that runs, if any."""
        if self.server is not None:
            exit_code, self.log = self.server.terminate()
            assert exit_code == 0, self.log
        self.running.close()
        self.server = None

    def type(self, command: str, shown: str) -> None:
        """Do what the page says at a prompt, and compare."""
        if re.match(r"(python3 -m venv|\. |pip install) ?", command):
            return
        if command.startswith("asyncrev serve"):
            self.stop()
            server = serving(*shlex.split(command)[2:], cwd=self.folder)
            self.server = self.running.enter_context(server)
            self.port = self.server.port
            self.write_files()
            return
        if command == "python watched.py":
            self.stop()
            self.port = 0  # it takes a free one
            self.write_files()
        done = subprocess.run(
            ["sh", "-c", command], capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
        self.ran.append(command)
        if "pytest" not in command:
            assert done.stdout.rstrip("\n") == shown.rstrip("\n"), done.stderr
            assert done.returncode == 0
        elif shown:
            assert shown.strip() in done.stdout, done.stdout
        else:
            assert done.returncode == 1, done.stdout
            self.failed = done.stdout

    def read(self, text: str) -> None:
        """Look for a text that the page shows: what a failing test said, or a line of the log."""
        if text.startswith("E "):
            # Which input it is that fails is up to the search; what is said of it is not.
            said = re.sub(r"b'.*'", "b'.*'", text).replace("[", r"\[").replace("]", r"\]")
            said = said.replace("(as in one piece)", r"\(as in one piece\)")
            assert re.search(said, self.failed), self.failed
            return
        self.stop()
        time, line = re.fullmatch(f"({TIME}) (.+)", text.strip()).groups()  # type: ignore[union-attr]
        line = re.sub(r"(127\\.0\\.0\\.1):\d+", r"\1:\\d+", re.escape(line))
        assert re.search(f"^{TIME} {line}$", self.log, re.M), (time, line, self.log)


@pytest.mark.slow
def test_tutorial_goes_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first command to the last, in the order of the page."""
    reader = Reader(tmp_path, monkeypatch)
    try:
        for language, block in BLOCKS:
            if language == "python":
                reader.save(block)
            elif language == "console":
                for command, shown in commands_of(block):
                    reader.type(command, shown)
            else:
                reader.read(block)
    finally:
        reader.running.close()
    assert len(reader.ran) == 7


def test_tutorial_installs_an_extra_that_exists() -> None:
    """From the repository that the project names."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (repository,) = re.findall(r'^Repository = "(.+)"$', text, re.M)
    assert re.search(r"^testing = \[", text, re.M)
    assert f"pip install 'asyncrev[testing] @ git+{repository}'" in text_of(PAGE)
