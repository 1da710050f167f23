"""Wheels and sdists, read: names, metadata, content.

Formats: packaging.python.org/specifications/binary-distribution-format and
/source-distribution-format.
"""

import base64
import configparser
import csv
import email
import email.message
import hashlib
import io
import re
import tarfile
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

__all__ = ["USERS_EXTRAS", "Artefact", "Sdist", "Wheel", "artefact"]

# Those that add something for users.
USERS_EXTRAS = ("ops", "bench", "uvloop", "dask", "testing")

_RELATIVE_LINK = re.compile(r"\]\(((?![a-z]+:|#)[^)]+)\)")


class Artefact:
    """What wheels and sdists have in common.

    Attributes:
        kind: sdist, or a wheel that is pure or native.
        names: the files in it; of an sdist without its top folder.
    """

    kind: str
    version: str
    names: list[str]

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            KeyError: there is none of this name.
        """
        raise NotImplementedError

    @cached_property
    def metadata(self) -> email.message.Message:
        """The core metadata, with the README as payload."""
        raise NotImplementedError

    @cached_property
    def modules(self) -> set[str]:
        """The Python files of the package, but for one that a build writes."""
        return {n for n in self.names if n.startswith("asyncrev/") and n.endswith(".py")}

    def relative_links(self) -> list[str]:
        """Return the links of the README that are neither absolute nor within the page."""
        return _RELATIVE_LINK.findall(str(self.metadata.get_payload()))


class Wheel(Artefact):
    """A wheel."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        _name, self.version, *self._compressed_tags = path.stem.split("-")
        self.kind = "pure" if path.stem.endswith("-none-any") else "native"
        self._zip = zipfile.ZipFile(path)
        self.names = [name for name in self._zip.namelist() if not name.endswith("/")]
        self._info_prefix = f"asyncrev-{self.version}.dist-info/"
        self._data_prefix = f"asyncrev-{self.version}.data/data/"

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        return self._zip.read(name)

    @cached_property
    def metadata(self) -> email.message.Message:
        """METADATA."""
        return email.message_from_bytes(self.read(f"{self._info_prefix}METADATA"))

    @cached_property
    def info(self) -> email.message.Message:
        """WHEEL."""
        return email.message_from_bytes(self.read(f"{self._info_prefix}WHEEL"))

    @property
    def epoch_s(self) -> int:
        """The time of its newest file: that of the commit, if the build was given it."""
        newest = max(info.date_time for info in self._zip.infolist())
        return int(datetime(*newest, tzinfo=UTC).timestamp())

    @property
    def tags(self) -> list[str]:
        """The tags that its name stands for, in the order of the specification."""
        pythons, abis, platforms = (part.split(".") for part in self._compressed_tags[-3:])
        return [f"{p}-{a}-{m}" for p in pythons for a in abis for m in platforms]

    @cached_property
    def entry_points(self) -> dict[str, str]:
        """The commands that it installs."""
        parser = configparser.ConfigParser()
        parser.read_string(self.read(f"{self._info_prefix}entry_points.txt").decode())
        return dict(parser["console_scripts"])

    @cached_property
    def dist_info(self) -> set[str]:
        """What is in its dist-info."""
        return self._below(self._info_prefix)

    @cached_property
    def data(self) -> set[str]:
        """What goes below the prefix of the installation."""
        return self._below(self._data_prefix)

    @cached_property
    def package(self) -> list[str]:
        """What goes into site-packages, but for its dist-info."""
        return [n for n in self.names if not n.startswith((self._info_prefix, self._data_prefix))]

    def record_faults(self) -> Iterator[str]:
        """Yield what differs between RECORD and the files: names, sizes, hashes."""
        record = f"{self._info_prefix}RECORD"
        rows = list(csv.reader(io.StringIO(self.read(record).decode())))
        for name in sorted({row[0] for row in rows} ^ {*self.names}):
            yield f"{name} is not both in it and in its RECORD"
        for name, digest, size in rows:
            if name == record or name not in self.names:
                continue
            content = self.read(name)
            sha256 = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            if digest != f"sha256={sha256.decode()}" or int(size) != len(content):
                yield f"{name} is not what its RECORD says"

    def _below(self, prefix: str) -> set[str]:
        return {name.removeprefix(prefix) for name in self.names if name.startswith(prefix)}


class Sdist(Artefact):
    """A source distribution."""

    kind = "sdist"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.version = path.name.removeprefix("asyncrev-").removesuffix(".tar.gz")
        self._tar = tarfile.open(path)  # noqa: SIM115 - as long as this object lives
        files = [member.name for member in self._tar.getmembers() if not member.isdir()]
        self.tops = {name.partition("/")[0] for name in files}
        self.names = [name.partition("/")[2] for name in files]

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        file = self._tar.extractfile(f"asyncrev-{self.version}/{name}")
        return file.read() if file else b""

    @cached_property
    def metadata(self) -> email.message.Message:
        """PKG-INFO."""
        return email.message_from_bytes(self.read("PKG-INFO"))


def artefact(path: Path) -> Artefact:
    """Return the artefact in a file.

    Raises:
        ValueError: it is neither a wheel nor an sdist.
    """
    if path.name.endswith(".whl"):
        return Wheel(path)
    if path.name.endswith(".tar.gz"):
        return Sdist(path)
    raise ValueError(f"{path.name} is neither a wheel (.whl) nor an sdist (.tar.gz)")
