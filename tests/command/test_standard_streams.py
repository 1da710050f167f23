"""standard_streams: what the command makes of closed and of broken standard descriptors."""

import subprocess
import sys
from pathlib import Path

import pytest

from asyncrev.command.standard_streams import drop_unwritable_streams


@pytest.mark.parametrize("fd", [0, 1, 2])
def test_closed_descriptor_is_opened_on_dev_null(tmp_path: Path, fd: int) -> None:
    """So that no file that is opened later gets its number; the stream of `sys` works again."""
    told = tmp_path / "told"
    code = (
        "import os, sys\n"
        "from asyncrev.command.standard_streams import open_closed_streams\n"
        f"os.close({fd})\n"
        "open_closed_streams()\n"
        f"stream = (sys.stdin, sys.stdout, sys.stderr)[{fd}]\n"
        f"same = os.path.samestat(os.fstat({fd}), os.stat(os.devnull))\n"
        f"with open({str(told)!r}, 'w') as file:\n"
        f"    print(same, stream.fileno(), os.get_inheritable({fd}), file=file)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert told.read_text().split() == ["True", str(fd), "True"]


class _Full:
    def flush(self) -> None:
        raise OSError(28, "No space left on device")


class _Closed:
    def flush(self) -> None:
        raise ValueError("I/O operation on closed file.")


@pytest.mark.parametrize("broken", [_Full(), _Closed()])
def test_stream_that_cannot_be_written_is_dropped(
    monkeypatch: pytest.MonkeyPatch, broken: object
) -> None:
    """The interpreter would try again at its end; the other stream stays."""
    stderr = sys.stderr
    monkeypatch.setattr(sys, "stdout", broken)
    drop_unwritable_streams()
    assert sys.stdout is None
    assert sys.stderr is stderr
