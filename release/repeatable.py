"""An sdist written so that two builds of it are the same bytes; setuptools does not promise it."""

import gzip
import io
import tarfile
from pathlib import Path

__all__ = ["write_sdist"]


def write_sdist(path: Path, epoch_s: int) -> Path:
    """Write a .tar.gz anew in place, sorted, with one time, one owner and two modes; return it.

    setuptools takes times from files, which a clone makes anew, and gzip notes when it ran.
    """
    with tarfile.open(path) as archive:
        members = sorted(archive.getmembers(), key=lambda member: member.name)
        contents = [_content(archive, member) for member in members]
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=9, fileobj=raw, mtime=epoch_s) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for member, content in zip(members, contents, strict=True):
            archive.addfile(_plain(member, epoch_s), io.BytesIO(content))
    return path


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member) if member.isfile() else None
    return file.read() if file else b""


def _plain(member: tarfile.TarInfo, epoch_s: int) -> tarfile.TarInfo:
    """Return the member with its name, kind and size, and whether its owner may execute it."""
    plain = tarfile.TarInfo(member.name)
    plain.type, plain.size, plain.linkname = member.type, member.size, member.linkname
    plain.mtime = epoch_s
    plain.mode = 0o755 if member.mode & 0o100 or member.isdir() else 0o644
    return plain
