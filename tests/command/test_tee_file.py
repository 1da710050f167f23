"""tee_file: for the server's user alone, through no symbolic link, without waiting."""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncrev.command.tee_file import close_tee, open_tee
from asyncrev.errors import LocalError


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[int]:
    """What `open_tee` returns, closed at the end."""
    fd = open_tee(str(path))
    try:
        yield fd
    finally:
        close_tee(fd, str(path))


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_file_that_is_made_is_its_owners_alone(tmp_path: Path, mask: int) -> None:
    """It holds what peers sent; it used to be everybody's to read."""
    before = os.umask(mask)
    try:
        with opened(tmp_path / "tee") as fd:
            os.write(fd, b"secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "tee").stat().st_mode) == 0o600


def test_file_that_exists_is_appended_to_and_keeps_its_mode(tmp_path: Path) -> None:
    """Whoever made it for a group of readers wants it so."""
    path = tmp_path / "tee"
    path.write_bytes(b"before|")
    path.chmod(0o640)
    with opened(path) as fd:
        os.write(fd, b"after")
        assert os.get_blocking(fd)
        assert not os.get_inheritable(fd)
    assert path.read_bytes() == b"before|after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("target", ["file", "nothing"])
def test_symbolic_link_is_refused_in_words(tmp_path: Path, target: str) -> None:
    """Nothing is written, or made, at its other end."""
    (tmp_path / "file").write_bytes(b"precious")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / target)
    with pytest.raises(LocalError) as caught:
        open_tee(str(link))
    assert str(caught.value).startswith(f"--tee {str(link)!r} is a symbolic link")
    assert sorted(os.listdir(tmp_path)) == ["file", "link"]
    assert (tmp_path / "file").read_bytes() == b"precious"


def test_link_that_comes_after_the_look_is_not_followed_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel refuses it (O_NOFOLLOW)."""
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    monkeypatch.setattr(os.path, "islink", lambda _: False)
    with pytest.raises(OSError, match=r"--tee .*link") as caught:
        open_tee(str(tmp_path / "link"))
    assert caught.value.errno == errno.ELOOP
    assert os.listdir(tmp_path) == ["link"]


def test_link_among_the_parents_is_followed(tmp_path: Path) -> None:
    """As /var/log may be one."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with opened(tmp_path / "link" / "tee"):
        assert os.listdir(tmp_path / "real") == ["tee"]


def test_stdout_by_its_name_is_told_to_be_a_dash() -> None:
    """/dev/stdout is a symbolic link."""
    with pytest.raises(LocalError, match="for standard output: --tee -"):
        open_tee("/dev/stdout")


def test_descriptor_that_the_process_was_given_is_written_to() -> None:
    """As by a shell's >(command), although its name is a symbolic link."""
    reader, writer = os.pipe()
    try:
        for name in (f"/dev/fd/{writer}", f"/proc/self/fd/{writer}"):
            with opened(name) as fd:
                assert fd != writer
                os.write(fd, b"abc")
            assert os.read(reader, 9) == b"abc"
    finally:
        os.close(reader)
        os.close(writer)
    for name in (f"/dev/fd/{writer}", "/dev/fd/999999999"):
        with pytest.raises(OSError, match=r"--tee .* Bad file descriptor"):
            open_tee(name)


def test_device_is_written_to_as_it_is() -> None:
    """/dev/null keeps its mode."""
    before = os.stat("/dev/null").st_mode
    with opened("/dev/null") as fd:
        assert os.write(fd, b"abc") == 3
    assert os.stat("/dev/null").st_mode == before


def test_fifo_without_reader_is_an_error_at_once(tmp_path: Path) -> None:
    """It used to wait for one in open(), where no signal handler of asyncio's is heard."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(LocalError) as caught:
        open_tee(str(tmp_path / "fifo"))
    assert str(caught.value) == (
        f"--tee {str(tmp_path / 'fifo')!r} is a FIFO without a reader; start its reader first"
    )


def test_fifo_is_opened_for_blocking_writes(tmp_path: Path) -> None:
    """One that is full makes the worker wait; non-blocking, it would end the tee."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with opened(fifo) as fd:
            assert os.get_blocking(fd)
    finally:
        os.close(reader)


def test_what_cannot_be_opened_names_option_and_path(tmp_path: Path) -> None:
    """A folder that is not there, and a folder."""
    for path, part in (
        (tmp_path / "no" / "file", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(OSError, match=part) as caught:
            open_tee(str(path))
        assert f"--tee {str(path)!r}: " in str(caught.value)


def test_socket_that_was_given_is_refused() -> None:
    """It may be one of the loop's: a tee that blocks there would block the loop."""
    with socket.socket() as sock, pytest.raises(LocalError, match="is neither a file nor"):
        open_tee(f"/dev/fd/{sock.fileno()}")


def test_socket_in_the_file_system_is_refused_in_the_same_words(tmp_path: Path) -> None:
    """The kernel calls it a device that does not exist."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        with pytest.raises(LocalError, match="is neither a file nor a FIFO or character device"):
            open_tee(path)


def test_close_that_fails_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The server's exit code is of what it served; the line has option, path and error."""
    fd = open_tee(str(tmp_path / "tee"))

    def close(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", close)
        close_tee(fd, "/full/tee")
    os.close(fd)
    assert "--tee '/full/tee' may be lost: [Errno 28] No space left on device" in caplog.text


def test_stdout_is_not_ours_to_close() -> None:
    """Nor is what was never opened."""
    close_tee(1, "-")
    close_tee(-1, "x")
    os.fstat(1)
