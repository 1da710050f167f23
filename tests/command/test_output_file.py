"""output_file: a file is reopened while somebody writes, and none of its descriptors is lost."""

import logging
import os
import stat
import threading
from pathlib import Path

import pytest

from asyncrev.command.output_file import OutputFile, refuse_shared_output, reopen
from asyncrev.errors import SettingsError


def put(file: OutputFile, data: bytes) -> None:
    """Write as the thread that writes does."""
    os.write(file.current(), data)


def test_what_is_written_after_a_reopen_goes_to_the_new_file(tmp_path: Path) -> None:
    """As with logrotate, whether or not it has made the file; what was before stays."""
    path = tmp_path / "f"
    file = OutputFile.open(str(path), mode=0o640)
    put(file, b"1")
    path.rename(tmp_path / "f.1")
    put(file, b"2")
    file.reopen()
    put(file, b"3")
    path.rename(tmp_path / "f.2")
    path.write_bytes(b"made:")
    file.reopen()
    put(file, b"4")
    file.close()
    assert [(tmp_path / name).read_bytes() for name in ("f.1", "f.2", "f")] == [
        b"12",
        b"3",
        b"made:4",
    ]


def test_mode_is_that_of_the_option(tmp_path: Path) -> None:
    """Of the first file, and of the one after."""
    before = os.umask(0)
    try:
        file = OutputFile.open(str(tmp_path / "f"), "--access-log", 0o640)
        (tmp_path / "f").unlink()
        file.reopen()
    finally:
        os.umask(before)
    file.close()
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o640


def test_descriptors_are_closed_however_often_it_is_reopened(tmp_path: Path) -> None:
    """Also those that were never written to, and one that comes after the end."""
    before = sorted(os.listdir("/proc/self/fd"))
    file = OutputFile.open(str(tmp_path / "f"))
    for _ in range(5):
        file.reopen()
    put(file, b"x")
    file.reopen()
    file.close()
    file.close()
    file.reopen()
    assert file.current() == -1
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_file_that_cannot_be_reopened_stays_open(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With a line that says why; the other one is reopened all the same."""
    (tmp_path / "d").mkdir()
    bad = OutputFile.open(str(tmp_path / "d" / "f"))
    good = OutputFile.open(str(tmp_path / "g"), "--access-log")
    (tmp_path / "d").rename(tmp_path / "e")
    with caplog.at_level(logging.INFO, "asyncrev"):
        assert not reopen([bad, good], "SIGHUP")
    put(bad, b"still")
    bad.close()
    good.close()
    assert (tmp_path / "e" / "f").read_bytes() == b"still"
    assert [one.getMessage() for one in caplog.records] == [
        f"SIGHUP: not reopened, the file before stays in use: --tee {str(bad.path)!r}: "
        "No such file or directory",
        f"SIGHUP: reopened --access-log {str(good.path)!r}",
    ]


def test_reopening_says_in_one_line_what_was_reopened(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Both files; and a warning where there is none."""
    files = [OutputFile.open(str(tmp_path / "f")), OutputFile.open(str(tmp_path / "g"), "--b")]
    with caplog.at_level(logging.INFO, "asyncrev"):
        assert reopen(files, "SIGHUP")
        assert reopen([OutputFile.open("-")], "SIGHUP")
    for file in files:
        file.close()
    told, ignored = (one.getMessage() for one in caplog.records)
    assert told == f"SIGHUP: reopened --tee {files[0].path!r} and --b {files[1].path!r}"
    assert ignored.startswith("SIGHUP is ignored: neither --tee nor --access-log names a file")


def test_pipe_device_and_stdout_are_not_reopened(tmp_path: Path) -> None:
    """A pipe without a reader could not be, and stdout has no name."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    for path in (str(fifo), "/dev/null", "-"):
        file = OutputFile.open(path)
        assert not file.can_reopen
        file.close()
    os.close(reading)
    os.fstat(1)


def test_reopening_beside_a_writer_loses_no_byte(tmp_path: Path) -> None:
    """Each write is whole, in one of the files, in order."""
    path = tmp_path / "f"
    file = OutputFile.open(str(path))
    ends = threading.Event()

    def write() -> None:
        number = 0
        while not ends.is_set() or number < 1000:
            put(file, b"%d\n" % number)
            number += 1

    thread = threading.Thread(target=write)
    thread.start()
    for turn in range(100):
        path.rename(tmp_path / f"f.{turn:03}")
        file.reopen()
    ends.set()
    thread.join()
    file.close()
    parts = [*sorted(tmp_path.glob("f.*")), path]
    numbers = [int(one) for part in parts for one in part.read_bytes().split()]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= 1000


@pytest.mark.parametrize(
    ("tee", "access_log"), [(None, None), ("-", None), (None, "-"), ("-", "f"), ("f", "-")]
)
def test_two_outputs_in_two_places_are_fine(tee: str | None, access_log: str | None) -> None:
    """Stdout for one of them."""
    refuse_shared_output(tee, access_log)


def test_two_outputs_in_one_place_are_refused(tmp_path: Path) -> None:
    """In words, however the name is written."""
    with pytest.raises(SettingsError, match=r"^--tee - and --access-log - would both write to"):
        refuse_shared_output("-", "-")
    with pytest.raises(SettingsError, match="name another file for one of them"):
        refuse_shared_output(f"{tmp_path}/f", f"{tmp_path}/./f")
