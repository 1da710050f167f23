"""unix_path: taken over and removed with care, with the mode asked for, by one of many."""

import asyncio
import contextlib
import errno
import fcntl
import os
import pathlib
import signal
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from asyncrev import EpollEventLoop
from asyncrev.errors import LocalError, SettingsError
from asyncrev.server import unix_path
from asyncrev.server.unix_path import MOST_PATH_BYTES, UnixPath
from tests.support import until, wait_until

on_epoll = pytest.mark.asyncio(loop_factories=["epoll"])


def connects(path: pathlib.Path) -> bool:
    """Return whether somebody listens at `path`."""
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


async def leave_dead(path: pathlib.Path) -> None:
    """Leave what a server leaves that was killed."""
    (await UnixPath(str(path)).open(5)).close()


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    """Have another umask for a while."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


# -- one server ----------------------------------------------------------------------------------


@on_epoll
async def test_path_listens_and_is_removed(tmp_path: pathlib.Path) -> None:
    """Removing is idempotent."""
    path = UnixPath(str(tmp_path / "socket"))
    with await path.open(5) as sock:
        assert not sock.getblocking()
        assert connects(tmp_path / "socket")
        await path.remove()
        await path.remove()
    assert not os.listdir(tmp_path)


@on_epoll
async def test_path_of_a_live_server_is_not_taken(tmp_path: pathlib.Path) -> None:
    """It stays connectable."""
    with await UnixPath(str(tmp_path / "socket")).open(5):
        other = UnixPath(str(tmp_path / "socket"))
        with pytest.raises(LocalError, match="in use by another server"):
            await other.open(5)
        await other.remove()
        assert connects(tmp_path / "socket")


@on_epoll
async def test_path_of_a_server_too_busy_to_accept_is_not_taken(tmp_path: pathlib.Path) -> None:
    """Its backlog is full, so a connect would wait: the answer is there at once all the same."""
    with await UnixPath(str(tmp_path / "socket")).open(1), contextlib.ExitStack() as clients:
        code = 0
        while code == 0:
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            code = client.connect_ex(str(tmp_path / "socket"))
        assert code == errno.EAGAIN
        before_s = time.monotonic()
        with pytest.raises(LocalError, match="in use by another server"):
            await UnixPath(str(tmp_path / "socket")).open(5)
        assert time.monotonic() - before_s < 0.5  # the probe used to wait a second for it


@on_epoll
async def test_path_of_a_dead_server_is_taken(tmp_path: pathlib.Path) -> None:
    """A server that was killed leaves its path."""
    await leave_dead(tmp_path / "socket")
    with await UnixPath(str(tmp_path / "socket")).open(5):
        assert connects(tmp_path / "socket")


@on_epoll
async def test_file_is_refused_and_left_as_it_was(tmp_path: pathlib.Path) -> None:
    """It is somebody's."""
    (tmp_path / "file").write_text("precious")
    with pytest.raises(LocalError, match="not a socket"):
        await UnixPath(str(tmp_path / "file")).open(5)
    assert (tmp_path / "file").read_text() == "precious"


@on_epoll
async def test_symbolic_link_is_refused_and_left(tmp_path: pathlib.Path) -> None:
    """Also one to a dead server's socket, or to nothing: bind(2) follows none."""
    await leave_dead(tmp_path / "socket")
    for target in ("socket", "nothing"):
        link = tmp_path / f"to-{target}"
        link.symlink_to(tmp_path / target)
        with pytest.raises(LocalError, match="is a symbolic link, which is not followed"):
            await UnixPath(str(link)).open(5)
        assert link.is_symlink()
    assert (tmp_path / "socket").is_socket()


@on_epoll
async def test_datagram_socket_is_in_use_by_its_owner(tmp_path: pathlib.Path) -> None:
    """A stream cannot connect to it, and it is alive."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(tmp_path / "socket"))
        with pytest.raises(LocalError, match="in use by another server"):
            await UnixPath(str(tmp_path / "socket")).open(5)
    assert (tmp_path / "socket").is_socket()


@on_epoll
@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
async def test_socket_that_may_not_be_probed_is_told_as_that(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """It may be dead, so "in use" would be a guess; it is left."""
    await leave_dead(tmp_path / "socket")
    monkeypatch.setattr(socket.socket, "connect_ex", lambda *_: code)
    with pytest.raises(LocalError, match="may not be connected to") as caught:
        await UnixPath(str(tmp_path / "socket")).open(5)
    assert os.strerror(code) in str(caught.value)
    assert (tmp_path / "socket").is_socket()


@on_epoll
async def test_socket_that_goes_during_the_look_is_no_obstacle(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner removes it between any two of our steps."""
    path = tmp_path / "socket"
    await leave_dead(path)
    connect_ex = socket.socket.connect_ex

    def gone(sock: socket.socket, address: Any) -> int:
        code = connect_ex(sock, address)
        path.unlink()
        return code

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "connect_ex", gone)
        sock = await UnixPath(str(path)).open(5)
    with sock:
        assert connects(path)


@on_epoll
async def test_dead_socket_that_cannot_be_removed_is_told(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in /tmp, when another user's server left it."""
    await leave_dead(tmp_path / "socket")

    def unlink(path: str) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", unlink)
        with pytest.raises(LocalError, match="was left by a server that has ended") as caught:
            await UnixPath(str(tmp_path / "socket")).open(5)
    assert "Operation not permitted" in str(caught.value)


@on_epoll
async def test_path_that_is_somebody_elses_by_now_is_not_removed(tmp_path: pathlib.Path) -> None:
    """Our socket was replaced under us."""
    path = UnixPath(str(tmp_path / "socket"))
    with await path.open(5):
        os.rename(tmp_path / "socket", tmp_path / "moved")
        with await UnixPath(str(tmp_path / "socket")).open(5):
            await path.remove()
            assert connects(tmp_path / "socket")


@on_epoll
async def test_path_that_was_removed_meanwhile_is_no_error(tmp_path: pathlib.Path) -> None:
    """And what somebody else makes there afterwards stays."""
    path = UnixPath(str(tmp_path / "socket"))
    with await path.open(5):
        os.unlink(tmp_path / "socket")
        await path.remove()
        (tmp_path / "socket").write_text("mine")
        await path.remove()
    assert (tmp_path / "socket").read_text() == "mine"


@on_epoll
async def test_path_that_cannot_be_bound_raises_with_its_name(tmp_path: pathlib.Path) -> None:
    """The folder does not exist; no descriptor is left."""
    where = str(tmp_path / "no" / "socket")
    with pytest.raises(OSError, match="No such file") as caught:
        await UnixPath(where).open(5)
    assert caught.value.errno == errno.ENOENT
    assert where in str(caught.value)


@on_epoll
async def test_open_that_fails_after_its_bind_leaves_nothing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the socket nor its path, which only a live server has."""

    def listen(*_: Any) -> None:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))

    monkeypatch.setattr(socket.socket, "listen", listen)
    with pytest.raises(OSError, match="cannot listen on"):
        await UnixPath(str(tmp_path / "socket")).open(5)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("path", "mode", "part"),
    [
        ("\0name", 0o600, "abstract name"),
        ("", 0o600, "the path of a UNIX socket is empty"),
        ("x" * (MOST_PATH_BYTES + 1), 0o600, "is 108 bytes long; the path of a UNIX socket has at"),
        ("x", 0o1000, "uds_mode is 0o1000; it must lie between 0 and 0o777"),
        ("x", -1, "uds_mode is -0o1; it must lie"),
    ],
)
def test_path_or_mode_that_cannot_be_is_refused(path: str, mode: int, part: str) -> None:
    """An abstract name has no inode, by which we would know it as ours at the end."""
    with pytest.raises(SettingsError) as caught:
        UnixPath(path, mode)
    assert part in str(caught.value)


@on_epoll
async def test_longest_path_is_bound(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is the kernel's."""
    monkeypatch.chdir(tmp_path)
    path = UnixPath("x" * MOST_PATH_BYTES)
    with await path.open(5):
        assert os.listdir(tmp_path) == ["x" * MOST_PATH_BYTES]
        await path.remove()


# -- the mode ------------------------------------------------------------------------------------


@on_epoll
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o777, 0o000])
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o777, 0o000])
async def test_file_has_the_mode_asked_for_whatever_the_umask(
    tmp_path: pathlib.Path, mask: int, mode: int
) -> None:
    """And never more than that, not for a moment: see what bind(2) itself makes."""
    seen: list[int] = []
    bind = socket.socket.bind

    def watched(sock: socket.socket, address: Any) -> None:
        bind(sock, address)
        seen.append(stat.S_IMODE(os.lstat(address).st_mode))

    with umask(mask), pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "bind", watched)
        sock = await UnixPath(str(tmp_path / "socket"), mode).open(5)
    with sock:
        assert seen == [mode & ~mask]
        assert stat.S_IMODE(os.lstat(tmp_path / "socket").st_mode) == mode


@on_epoll
async def test_mode_is_owner_only_by_default(tmp_path: pathlib.Path) -> None:
    """With an umask of none at all, too."""
    with umask(0), await UnixPath(str(tmp_path / "socket")).open(5):
        assert stat.S_IMODE(os.lstat(tmp_path / "socket").st_mode) == 0o600


# -- several servers -----------------------------------------------------------------------------


class Racer(threading.Thread):
    """A server of its own loop, that tries to get the path when all of them do."""

    def __init__(self, path: pathlib.Path, start: threading.Barrier, end: threading.Event) -> None:
        super().__init__()
        self._path, self._start, self._end = path, start, end
        self.sock: socket.socket | None = None
        self.error: BaseException | None = None
        self.done = threading.Event()

    def run(self) -> None:
        with asyncio.Runner(loop_factory=EpollEventLoop) as runner:
            try:
                runner.run(self.race())
            except BaseException as error:
                self.error = error
            self.done.set()
            self._end.wait()
            if self.sock is not None:
                self.sock.close()

    async def race(self) -> None:
        path = UnixPath(str(self._path))
        self._start.wait()
        self.sock = await path.open(5)


def test_of_servers_that_start_at_once_on_a_dead_path_one_owns_it(tmp_path: pathlib.Path) -> None:
    """The others say that it is in use, and the one is reachable. Many rounds, threads."""
    path = tmp_path / "socket"
    asyncio.run(leave_dead(path))
    for _ in range(60):
        start, end = threading.Barrier(4), threading.Event()
        racers = [Racer(path, start, end) for _ in range(4)]
        for racer in racers:
            racer.start()
        try:
            for racer in racers:
                wait_until(racer.done.is_set, "it has tried")
            assert sum(racer.sock is not None for racer in racers) == 1
            errors = [racer.error for racer in racers if racer.sock is None]
            assert [type(error) for error in errors] == [LocalError] * 3
            assert all("in use by another server" in str(error) for error in errors)
            assert connects(path)
        finally:
            end.set()
            for racer in racers:
                racer.join()
        # The path stays, for a dead server is what the next round needs.


@on_epoll
async def test_removal_waits_for_a_server_that_is_looking(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a look and the unlink that follows nobody else takes the path over."""
    tries: list[int] = []
    flock = fcntl.flock

    def counted(fd: int, operation: int) -> None:
        tries.append(operation)
        flock(fd, operation)

    path = UnixPath(str(tmp_path / "socket"))
    with await path.open(5):
        fd = os.open(tmp_path, os.O_RDONLY)
        fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            monkeypatch.setattr(fcntl, "flock", counted)
            removing = asyncio.create_task(path.remove())
            again = asyncio.create_task(path.remove())
            await until(lambda: len(tries) >= 6, "both have tried, on a loop that runs")
            assert os.listdir(tmp_path) == ["socket"]
        finally:
            os.close(fd)
        await asyncio.gather(removing, again)
    assert not os.listdir(tmp_path)


@on_epoll
async def test_process_that_was_forked_meanwhile_keeps_no_lock(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has our descriptors; the next server would wait for its end."""
    monkeypatch.setattr(unix_path, "LOCK_TIMEOUT_S", 0.2)
    copies: list[int] = []
    listen = socket.socket.listen

    def listen_and_copy(sock: socket.socket, backlog: int) -> None:
        directory = next(fd for fd in open_fds() if os.readlink(f"/proc/self/fd/{fd}") == where)
        copies.append(os.dup(directory))  # of the same open file description, as after fork(2)
        listen(sock, backlog)

    where = str(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "listen", listen_and_copy)
        sock = await UnixPath(str(tmp_path / "one")).open(5)
    with sock, await UnixPath(str(tmp_path / "two")).open(5):
        assert connects(tmp_path / "two")
    os.close(*copies)


def open_fds() -> list[int]:
    """Return the descriptors of this process that lead somewhere."""
    names = os.listdir("/proc/self/fd")
    return [int(name) for name in names if os.path.lexists(f"/proc/self/fd/{name}")]


@on_epoll
async def test_relative_path_is_removed_from_where_it_was_made(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A processor may change the directory of the process; what is there by that name stays."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "one")
    path = UnixPath(pathlib.Path("socket"))
    with await path.open(5):
        monkeypatch.chdir(tmp_path / "two")
        (tmp_path / "two" / "socket").write_text("mine")
        await path.remove()
    assert os.listdir(tmp_path / "one") == []
    assert (tmp_path / "two" / "socket").read_text() == "mine"


@on_epoll
async def test_lock_that_somebody_keeps_is_an_error_that_says_so(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some seconds, in which the loop runs."""
    monkeypatch.setattr(unix_path, "LOCK_TIMEOUT_S", 0.05)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(LocalError, match="has held the lock of directory") as caught:
            await UnixPath(str(tmp_path / "socket")).open(5)
    finally:
        os.close(fd)
    assert str(tmp_path) in str(caught.value)
    assert not os.listdir(tmp_path)


@on_epoll
async def test_file_system_without_locks_is_no_obstacle(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some network file systems are, or a directory that may not be read."""

    def flock(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    path = UnixPath(str(tmp_path / "socket"))
    with await path.open(5):
        assert connects(tmp_path / "socket")
        await path.remove()
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="root: only it can become somebody else")
def test_other_users_server_may_not_be_probed() -> None:
    """With a real user, in a child: the socket is another one's, of mode 0600."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        directory = pathlib.Path(name)
        directory.chmod(0o777)
        probe_as_nobody(directory)


def probe_as_nobody(directory: pathlib.Path) -> None:
    with asyncio.Runner(loop_factory=EpollEventLoop) as runner:
        sock = runner.run(UnixPath(str(directory / "socket")).open(5))
    with sock:
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            code = 1
            try:
                os.setuid(65534)
                asyncio.run(UnixPath(str(directory / "socket")).open(5))
            except LocalError as error:
                code = 0 if "may not be connected to (Permission denied)" in str(error) else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
