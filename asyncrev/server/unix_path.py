"""The path of a UNIX socket: of servers that want it exactly one gets it, with the mode asked for.

asyncio removes whatever socket it finds at a path (github.com/python/cpython/issues/121252). Here
a connect shows first whether somebody listens, and at the end only our own socket is removed. Both
are a look followed by an unlink, so they happen under a lock on the directory.
"""

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator

from asyncrev.errors import LocalError, SettingsError

__all__ = ["DEFAULT_MODE", "UnixPath"]

logger = logging.getLogger("asyncrev")

# Only processes of the server's own user connect: what an umask of 022, the usual one, comes to
# as well, because connect(2) needs the right to write.
DEFAULT_MODE = 0o600

# sockaddr_un has 108 bytes, one of them for the NUL at the end (unix(7)).
MOST_PATH_BYTES = 107

# Another server holds the lock for a millisecond; somebody else's flock(1) may hold it for ever.
LOCK_TIMEOUT_S = 5.0
REMOVE_LOCK_TIMEOUT_S = 1.0  # less, because a drain waits for it
_LOCK_RETRY_S = 0.01


class UnixPath:
    """A path that a server listens on. All methods: the loop's thread.

    The live socket of another server is not taken over, the one that a dead server left is.
    """

    def __init__(self, path: str | os.PathLike[str], mode: int = DEFAULT_MODE) -> None:
        """Prepare to listen on `path`, a file that then has `mode`, whatever the umask.

        Raises:
            SettingsError: `path` cannot be one of a UNIX socket, or `mode` is none.
        """
        path = os.fspath(path)
        if not path:
            raise SettingsError("the path of a UNIX socket is empty; name a file to be made")
        if "\0" in path:
            raise SettingsError(f"{path!r} is an abstract name; name a path in the file system")
        path_bytes = len(os.fsencode(path))
        if path_bytes > MOST_PATH_BYTES:
            raise SettingsError(
                f"{path!r} is {path_bytes} bytes long; the path of a UNIX socket has at most "
                f"{MOST_PATH_BYTES}; name a shorter one, or one relative to the working directory"
            )
        if not 0 <= mode <= 0o777:
            raise SettingsError(f"uds_mode is {oct(mode)}; it must lie between 0 and 0o777")
        self.path = path
        self._mode = mode
        self._absolute = os.path.abspath(path)  # the same if the program changes its directory
        self._identity: tuple[int, int] | None = None  # device and inode of what `open` made

    async def open(self, backlog: int) -> socket.socket:
        """Return the listening socket; whatever fails, nothing is left at the path.

        Raises:
            LocalError: something else is there: a live server, no socket at all, or one that may
                not be probed or removed. Or the directory's lock is not to be had.
            OSError: the path cannot be bound; the message names it.
        """
        async with self._locked(LOCK_TIMEOUT_S):
            self._remove_if_dead()
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                self._bind(sock)
                sock.listen(backlog)
                sock.setblocking(False)
            except BaseException as error:
                with contextlib.suppress(OSError):  # the first error is the one to tell
                    self._remove_own()
                sock.close()
                if isinstance(error, OSError):
                    raise OSError(
                        error.errno, f"cannot listen on {self.path!r}: {error.strerror or error}"
                    ) from None
                raise
            return sock

    async def remove(self) -> None:
        """Remove the path if it still is what `open` made; idempotent.

        Call it while the socket that `open` returned is open: a live server's path is not taken
        over, and the number of its inode is given to no other file.

        Raises:
            LocalError: another process holds the directory's lock for too long.
            OSError: the path may not be removed.
        """
        if self._identity is not None:
            async with self._locked(REMOVE_LOCK_TIMEOUT_S):
                self._remove_own()

    def _bind(self, sock: socket.socket) -> None:
        # The file is made with the mode that the socket has, less the umask (unix(7)): at no
        # moment does it have more rights than asked for.
        os.fchmod(sock.fileno(), self._mode)
        sock.bind(self.path)
        # By descriptor, because somebody else might put a symbolic link in its place.
        fd = os.open(self.path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            found = os.fstat(fd)
            self._identity = (found.st_dev, found.st_ino)
            if stat.S_IMODE(found.st_mode) != self._mode:
                os.chmod(f"/proc/self/fd/{fd}", self._mode)  # adds what the umask took
        finally:
            os.close(fd)

    def _remove_own(self) -> None:
        if self._identity is None:
            return
        with contextlib.suppress(FileNotFoundError):
            found = os.lstat(self._absolute)
            if (found.st_dev, found.st_ino) == self._identity:
                os.unlink(self._absolute)
        self._identity = None

    def _remove_if_dead(self) -> None:
        """Make way for our socket.

        Raises:
            LocalError: what is at the path must stay there.
        """
        try:
            mode = os.lstat(self.path).st_mode
        except FileNotFoundError:
            return
        except OSError as error:
            raise LocalError(f"cannot look at {self.path!r}: {error.strerror}") from None
        if stat.S_ISLNK(mode):
            raise LocalError(
                f"{self.path!r} is a symbolic link, which is not followed; name the path itself"
            )
        if not stat.S_ISSOCK(mode):
            raise LocalError(f"{self.path!r} exists and is not a socket; name another path")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            # Answered at once: EAGAIN means that a live server's backlog is full.
            probe.setblocking(False)
            code = probe.connect_ex(self.path)
        if code == errno.ENOENT:
            return
        if code in (errno.EACCES, errno.EPERM):
            raise LocalError(
                f"{self.path!r} exists and may not be connected to ({os.strerror(code)}), so it "
                "is not known whether a server listens there; name another path, or remove it"
            )
        if code != errno.ECONNREFUSED:
            raise LocalError(f"{self.path!r} is in use by another server; name another path")
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise LocalError(
                f"{self.path!r} was left by a server that has ended, and cannot be removed: "
                f"{error.strerror}"
            ) from None

    @contextlib.asynccontextmanager
    async def _locked(self, timeout_s: float) -> AsyncIterator[None]:
        """Hold flock(2) on the directory; without it where the system does not allow it.

        That is a directory that may be written to and not read, and file systems without such
        locks: there two servers that start in the same moment may both think that they own the
        path, and the one that was slower does.

        Raises:
            LocalError: another process holds it for too long.
        """
        directory = os.path.dirname(self._absolute)
        try:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            yield
            return
        try:
            await _lock(fd, directory, timeout_s)
            yield
        finally:
            # A process that was forked meanwhile has this descriptor, too, and with it the lock.
            with contextlib.suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)


async def _lock(fd: int, directory: str, timeout_s: float) -> None:
    late_s = asyncio.get_running_loop().time() + timeout_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if asyncio.get_running_loop().time() >= late_s:
                raise LocalError(
                    f"another process has held the lock of directory {directory!r} for "
                    f"{timeout_s:g} s (flock); find it with lslocks(8)"
                ) from None
            await asyncio.sleep(_LOCK_RETRY_S)
        except OSError:
            logger.debug("directory %r cannot be locked", directory, exc_info=True)
            return
        else:
            return
