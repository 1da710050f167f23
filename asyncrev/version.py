"""The version, which the build takes from the tag of git (setup.py) and writes into version.txt."""

# What main is on the way to; the release of it sets the one after.
NEXT_RELEASE = "0.2.0"


def _built() -> str:
    """Return what the build wrote; a tree that nobody built or installed has no such file."""
    try:
        with open(f"{__file__.removesuffix('version.py')}version.txt", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return f"{NEXT_RELEASE}.dev0"


__version__ = _built()
