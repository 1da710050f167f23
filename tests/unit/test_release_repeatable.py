"""release.repeatable: what differs between two builds of an sdist is not in it."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from release.repeatable import write_sdist

EPOCH_S = 1_700_000_000


def sdist(path: Path, names: list[str], mtime: float, mode: int, owner: str) -> Path:
    """Write an sdist as setuptools might."""
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(f"asyncrev-1/{name}")
            content = name.encode()
            member.size, member.mtime, member.mode, member.uname = len(content), mtime, mode, owner
            archive.addfile(member, io.BytesIO(content))
    os.utime(path, (mtime, mtime))
    return path


def test_order_times_owners_and_umask_leave_no_trace(tmp_path: Path) -> None:
    """So two builds of a commit are the same bytes."""
    first = sdist(tmp_path / "a.tar.gz", ["b", "a"], 1.0, 0o644, "me")
    second = sdist(tmp_path / "b.tar.gz", ["a", "b"], 1e9, 0o600, "you")
    assert first.read_bytes() != second.read_bytes()
    for path in (first, second):
        assert write_sdist(path, EPOCH_S) == path
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(("mode", "expected"), [(0o755, 0o755), (0o700, 0o755), (0o640, 0o644)])
def test_contents_times_and_who_may_execute_stay(tmp_path: Path, mode: int, expected: int) -> None:
    """With the time that was given."""
    path = write_sdist(sdist(tmp_path / "a.tar.gz", ["run"], 1.0, mode, "me"), EPOCH_S)
    with tarfile.open(path) as archive:
        (member,) = archive.getmembers()
        file = archive.extractfile(member)
        assert file is not None
        assert (file.read(), member.mtime, member.mode) == (b"run", EPOCH_S, expected)
        assert (member.uname, member.uid) == ("", 0)
