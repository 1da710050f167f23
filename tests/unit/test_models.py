"""The models in docs/models: no error in any interleaving, and every seeded bug found."""

import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("spin") and shutil.which("gcc")), reason="there is no spin, or no gcc, here"
)
def test_models_hold_and_find_their_seeded_bugs() -> None:
    """`make prove`, whose exit code says it all."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "models" / "prove.py")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("no error") == 3
    assert done.stdout.count(": found") == 4
