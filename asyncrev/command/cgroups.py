"""The cgroups of this process, and what their files say (cgroups(7)), in either version."""

import dataclasses
import os
from collections.abc import Iterator

__all__ = ["Cgroup", "cgroups_with", "text_of"]


@dataclasses.dataclass(frozen=True, slots=True)
class Cgroup:
    """A cgroup that this process is in.

    Attributes:
        name: its path below the mount point.
        version: 1 or 2.
        directory: where its files are, below `root`.
        root: the directory that contains the system's files.
    """

    name: str
    version: int
    directory: str
    root: str

    def read(self, file: str) -> str:
        """Return the text of one of its files, "" if there is none."""
        return text_of(self.root, os.path.join(self.directory, file))


def cgroups_with(controller: str, root: str = "/") -> Iterator[Cgroup]:
    """Yield the cgroups that may limit `controller` for this process, and their ancestors.

    `root` is the directory that contains the system's files. Thread: any.
    """
    for line in text_of(root, "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            kind, option, version = "cgroup2", "", 2
        elif controller in controllers.split(","):
            kind, option, version = "cgroup", controller, 1
        else:
            continue
        for point, top in _mounts(root, kind, option):
            # In a container, the path may be outside what is mounted there.
            below = path.removeprefix(top.rstrip("/")) if path.startswith(top) else ""
            parts = [part for part in below.split("/") if part not in ("", "..")]
            for length in range(len(parts), -1, -1):
                name = "/".join(parts[:length])
                yield Cgroup("/" + name, version, os.path.join(point, name).lstrip("/"), root)


def _mounts(root: str, kind: str, option: str) -> Iterator[tuple[str, str]]:
    """Yield each mount point and the part of the hierarchy there (proc_pid_mountinfo(5))."""
    for line in text_of(root, "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, (filesystem, *rest) = before.split(), after.split() or [""]
        if filesystem == kind and (not option or option in rest[-1].split(",")):
            yield fields[4], fields[3]


def text_of(root: str, path: str) -> str:
    """Return the text of a file of the system, "" if it cannot be read."""
    try:
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
