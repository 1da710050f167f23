"""The models in docs/models: no error in any interleaving, and every seeded bug found."""

import importlib.util
import pathlib
import re
import shutil
import subprocess
import sys
import types
from typing import Any

import pytest

MODELS = pathlib.Path(__file__).parents[2] / "docs" / "models"


def load(name: str) -> types.ModuleType:
    """Import a script of docs/models, which is no package."""
    spec = importlib.util.spec_from_file_location(name, MODELS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # for its dataclasses
    spec.loader.exec_module(module)
    return module


prove = load("prove")


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("spin") and shutil.which("gcc")), reason="there is no spin, or no gcc, here"
)
def test_models_hold_and_find_their_seeded_bugs() -> None:
    """`make prove`, whose exit code says it all."""
    done = subprocess.run(
        [sys.executable, str(MODELS / "prove.py")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("no error") == sum(len(model.sizes) for model in prove.MODELS)
    assert done.stdout.count(": found") == sum(len(model.bugs) for model in prove.MODELS)


def test_prove_names_the_tool_that_is_missing(tmp_path: pathlib.Path) -> None:
    """And how to get it, without a traceback."""
    done = subprocess.run(
        [sys.executable, str(MODELS / "prove.py")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: no spin here (on Debian: apt-get install spin)\n"


@pytest.mark.parametrize("model", prove.MODELS, ids=lambda model: model.name)
def test_names_of_macros_are_unique(model: Any) -> None:
    """spin refuses the model otherwise; this test also runs where there is no spin."""
    text = (MODELS / f"{model.name}.pml").read_text(encoding="utf-8")
    names = re.findall(r"^(?:inline|active proctype) (\w+)", text, re.MULTILINE)
    assert names
    assert len(names) == len(set(names))


@pytest.mark.parametrize("model", prove.MODELS, ids=lambda model: model.name)
def test_every_seeded_bug_is_in_its_model(model: Any) -> None:
    """And no other: `make prove` would take one that is misspelt for one that is not found."""
    text = (MODELS / f"{model.name}.pml").read_text(encoding="utf-8")
    switches = set(re.findall(r"^#ifn?def ([A-Z_]+)", text, re.MULTILINE))
    assert switches - {"N", "ENTRIES", "LANES", "STOP"} == set(model.bugs)
