"""What must not be in the repository: packages somebody downloaded, builds, large files."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Results of the benchmarks are the largest; they are near 1 MB.
LARGEST_BYTES = 2_000_000
BUILT = {".whl", ".gz", ".so", ".o", ".a", ".pyc", ".pyd", ".egg"}


def tracked_files() -> list[Path]:
    """Return what git knows of, as paths from the root."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout of git")
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, timeout=30
    ).stdout
    paths = [Path(name) for name in listing.decode().split("\0") if name]
    return [path for path in paths if (ROOT / path).exists()]


def test_no_builds_and_no_downloaded_packages_are_tracked() -> None:
    files = tracked_files()
    assert len(files) > 100
    assert [str(path) for path in files if path.suffix in BUILT] == []


def test_no_tracked_file_is_large() -> None:
    sizes = {str(path): (ROOT / path).stat().st_size for path in tracked_files()}
    assert {path: size for path, size in sizes.items() if size > LARGEST_BYTES} == {}
