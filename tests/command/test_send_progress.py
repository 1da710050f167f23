"""send_progress: a line on a terminal, and nothing elsewhere."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from asyncrev.command import send_progress
from asyncrev.command.send_progress import Progress, total_bytes

CODE = """\
import sys
from asyncrev.command import send_progress
send_progress._FIRST_AFTER_S = 0
progress = send_progress.Progress(4 * 2**20)
progress.note(2**20, 512 * 1024)
progress.note(2**21, 512 * 1024)
progress.clear()
"""


def shown_on_a_terminal(*, stdout_too: bool) -> bytes:
    """Return what a child writes to a terminal that is its stderr."""
    ours, theirs = pty.openpty()
    try:
        out = theirs if stdout_too else subprocess.DEVNULL
        subprocess.run([sys.executable, "-c", CODE], stdout=out, stderr=theirs, check=True)
        os.write(theirs, b"end")
        text = b""
        while not text.endswith(b"end"):
            text += os.read(ours, 4096)
        return text
    finally:
        os.close(ours)
        os.close(theirs)


def test_line_on_a_terminal() -> None:
    """With the share of the input; a second one within 0.25 s is not written."""
    text = shown_on_a_terminal(stdout_too=False)
    assert text == b"\rsent 1MiB (25 %), received 512KiB\x1b[K\r\x1b[Kend"


def test_nothing_beside_output_on_the_same_terminal() -> None:
    """It would be between the bytes of the reply."""
    assert shown_on_a_terminal(stdout_too=True) == b"end"


def test_nothing_without_a_terminal(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a script."""
    monkeypatch.setattr(send_progress, "_FIRST_AFTER_S", 0)
    progress = Progress()
    progress.note(2**30, 2**30)
    progress.clear()
    assert capfd.readouterr() == ("", "")


def test_length_of_the_input(tmp_path: Path) -> None:
    """Of a file, what is left of it; a pipe has none."""
    (tmp_path / "file").write_bytes(bytes(10))
    with (tmp_path / "file").open("rb", buffering=0) as file:
        file.read(3)
        assert total_bytes(file.fileno()) == 7
    reader, writer = os.pipe()
    assert total_bytes(reader) is None
    os.close(reader)
    os.close(writer)
