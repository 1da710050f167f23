"""Each example runs as its readers would run it, and prints what it says."""

import hashlib
import pathlib
import subprocess
import sys
import zlib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
EXPECTED = {
    "compress": "8800 bytes, compressed and back\n" * 2,
    "submit": "one 7692c3ad\ntwo 3fc4ccfe\nthree 8b5b9db0\nfour was given up\n",
    "embed": "olleh\n",
    "frames": "HELLO!\n!\n",
    "checksum": f"{zlib.crc32(b'hello'):08x}\n",
    "channel": "".join(hashlib.sha256(b"buffer %d" % n).hexdigest()[:16] + "\n" for n in range(10)),
}


def test_every_example_is_run() -> None:
    """A new example belongs into the table above."""
    assert {path.stem for path in ROOT.glob("examples/[a-z]*.py")} == set(EXPECTED)


@pytest.mark.process
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_example_prints_what_it_says(name: str) -> None:
    """Warnings are errors in examples too."""
    run = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "examples" / f"{name}.py"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (run.stdout, run.stderr, run.returncode) == (EXPECTED[name], "", 0)
