"""The build's part that pyproject.toml cannot express: the native code is optional.

ASYNCREV_BUILD is `auto` (build them if they compile, by default), `native` (fail if they do not) or
`pure` (leave them out). A wheel with them is for one platform, and for every CPython from 3.11 on
that has a GIL, or for one free-threaded version; a wheel without them is for all.

The version comes from the tag of git (v0.2.0 is 0.2.0) or, in an sdist, from its PKG-INFO. Commits
after a tag, or without one, are development versions of what asyncrev/version.py has as the next
release. A tree that has neither git nor PKG-INFO is built as the first of these. An editable
installation keeps the version that it was made with.
"""

import contextlib
import os
import re
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.version import Version
from setuptools import Distribution, Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools_scm import get_version
from setuptools_scm.version import ScmVersion, guess_next_dev_version

MODES = ("auto", "native", "pure")

# Free-threaded CPython has no limited API before 3.15.
limited = not sysconfig.get_config_var("Py_GIL_DISABLED")


NATIVE = "asyncrev/native"
# Those named …_core… know nothing of Python.
KERNELS_CORE = ("kernels_core_reverse", "kernels_core_scans")
KERNELS = ("kernels_module", "kernels_reverse", "kernels_scans", "kernels_exchange", *KERNELS_CORE)
PLANE_CORE = (
    "plane_core_ring",
    "plane_core_wakeups",
    "plane_core_receive",
    "plane_core_deliver",
    "plane_core_poll",
    "plane_core_worker",
    "plane_core_times",
    *KERNELS_CORE,
)
PLANE = (
    "plane_module",
    "plane_objects",
    "plane_work",
    "plane_rows",
    "plane_wakeups",
    "plane_ring",
    "plane_ring_memory",
    "plane_ring_entries",
    "plane_calls",
    "plane_calls_loop",
    "plane_calls_worker",
    *PLANE_CORE,
)
KERNELS_HEADERS = ("kernels_core", "kernels_core_words", "kernels_calls", "none")
PLANE_HEADERS = (
    "kernels_core",
    "kernels_core_words",
    "none",
    "plane_core",
    "plane_core_ring",
    "plane_core_wakeups",
    "plane_core_times",
    "plane_objects",
    "plane_ring",
    "plane_calls",
)


def extension(name: str, sources: Sequence[str], headers: Sequence[str]) -> Extension:
    """Return an extension of the package `native`."""
    return Extension(
        f"asyncrev.native.{name}",
        [f"{NATIVE}/{source}.c" for source in sources],
        depends=[f"{NATIVE}/{header}.h" for header in headers],
        define_macros=[("Py_LIMITED_API", "0x030B0000")] if limited else [],
        extra_compile_args=["-std=c11", "-O3", "-fvisibility=hidden"],
        py_limited_api=limited,
    )


def extensions() -> list[Extension]:
    """Return those with the native kernels and with the plane, which go together."""
    return [
        extension("_kernels", KERNELS, KERNELS_HEADERS),
        extension("_plane", PLANE, PLANE_HEADERS),
    ]


@contextlib.contextmanager
def output_in(path: Path) -> Iterator[None]:
    """Send what this process and its children print to a file."""
    saved = os.dup(1), os.dup(2)
    try:
        with path.open("wb") as file:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
        yield
    finally:
        for stream in (1, 2):
            os.dup2(saved[stream - 1], stream)
            os.close(saved[stream - 1])


def why_not() -> str:
    """Compile the extensions in a temporary folder; return why that failed, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        command = build_ext(Distribution({"name": "asyncrev", "ext_modules": extensions()}))
        command.build_temp = command.build_lib = folder
        printed = Path(folder, "printed")
        try:
            with output_in(printed):
                command.ensure_finalized()
                command.run()
        except Exception as error:  # of several classes, which differ between versions
            lines = printed.read_text(errors="replace").splitlines()
            errors = [line.strip() for line in lines if re.search(r"\berror\b", line)]
            return errors[0] if errors else str(error)
    return ""


ROOT = Path(__file__).parent
# As setuptools-scm does it, with tags of versions only.
DESCRIBE = ["git", "describe", "--dirty", "--tags", "--long", "--match", "v[0-9]*.[0-9]*"]
VERSION_FILE = "asyncrev/version.txt"  # asyncrev/version.py reads it


def next_release() -> str:
    """Return what asyncrev/version.py has as the next release."""
    text = (ROOT / "asyncrev/version.py").read_text(encoding="utf-8")
    found = re.search(r'^NEXT_RELEASE = "([^"]+)"$', text, re.MULTILINE)
    if not found:
        raise SystemExit('asyncrev/version.py has no line NEXT_RELEASE = "..."')
    return found[1]


def version_of(commit: ScmVersion) -> str:
    """Return the tag of a commit, or the development version that it is."""
    tagged = commit.tag > Version("0.0")  # what setuptools-scm has for a history without tags
    if commit.exact and tagged:
        return str(commit.tag)
    # After a release candidate, the next of them: the release itself would have a lower .dev.
    if commit.tag.is_prerelease or commit.tag >= Version(next_release()):
        return guess_next_dev_version(commit)
    return f"{next_release()}.dev{commit.distance or 0}"


def version() -> str:
    """Return the version; a git that is missing, or refuses to answer, is no reason to fail."""
    try:
        return get_version(
            root=str(ROOT),
            fallback_root=str(ROOT),
            dist_name="asyncrev",
            scm={"git": {"describe_command": DESCRIBE}},
            version_scheme=version_of,
            local_scheme="no-local-version",
        )
    except (LookupError, OSError) as error:
        fallback = f"{next_release()}.dev0"
        if (ROOT / ".git").exists():
            reason = str(error).partition("\n")[0]
            print(f"asyncrev: built as {fallback}, since git has no answer: {reason}")
        return fallback


class WithVersion(build_py):
    """A build that also writes the version: into what is built, or beside an editable package."""

    def run(self) -> None:
        """Build, then write; the file of an earlier editable installation was copied, too."""
        super().run()
        folder = ROOT if self.editable_mode else Path(self.build_lib)
        file = folder / VERSION_FILE
        file.unlink(missing_ok=True)  # never through a hard link into another tree
        file.write_text(self.distribution.get_version() + "\n", encoding="ascii")


class WithKernelsIfPossible(Distribution):
    """A distribution that drops its extension before anything is built if it does not compile."""

    tried = False

    def has_ext_modules(self) -> bool:
        """Decide once: tags and folders of a wheel depend on it; metadata and an sdist do not."""
        if not self.tried and not {"dist_info", "egg_info", "sdist"} & set(self.commands):
            self.tried = True
            reason = why_not() if self.ext_modules and mode == "auto" else ""
            if reason:
                self.ext_modules = []
                print(f"asyncrev: built without its native code, in Python only: {reason}")
        return bool(self.ext_modules)


def readme() -> str:
    """Return the README as PyPI shows it: links that are relative lead to the repository."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    picture = r'\1="https://raw.githubusercontent.com/asyncrev/asyncrev/main/\2"'
    text = re.sub(r'\b(src|srcset)="(?![a-z]+:)([^"]+)"', picture, text)
    target = r"](https://github.com/asyncrev/asyncrev/blob/main/\1)"
    return re.sub(r"\]\((?![a-z]+:|#)([^)]+)\)", target, text)


mode = os.environ.get("ASYNCREV_BUILD", "auto")
if mode not in MODES:
    raise SystemExit(f"ASYNCREV_BUILD is {mode!r}; it must be one of {', '.join(MODES)}")

if __name__ == "__main__":
    setup(
        version=version(),
        cmdclass={"build_py": WithVersion},
        distclass=WithKernelsIfPossible,
        ext_modules=[] if mode == "pure" else extensions(),
        options={"bdist_wheel": {"py_limited_api": "cp311"}} if limited else {},
        long_description=readme(),
        long_description_content_type="text/markdown",
    )
