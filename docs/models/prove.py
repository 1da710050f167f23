"""Explores the models beside this file with spin: all interleavings, and every seeded bug.

    python docs/models/prove.py

Needs spin and gcc (Debian: apt-get install spin gcc). Exits with 1 if the model has an error, or
if a seeded bug has none: then the model would notice nothing.
"""

import dataclasses
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """A file, the sizes it is explored in, and the bugs that can be built in, in what size."""

    name: str
    sizes: tuple[str, ...]
    bug_size: str
    bugs: dict[str, str]


MODELS = (
    Model(
        name="wakeups",
        sizes=("-DN=3 -DENTRIES=1", "-DN=4 -DENTRIES=2", "-DN=5 -DENTRIES=3"),
        bug_size="-DN=5 -DENTRIES=3",
        bugs={
            "LOOK_BEFORE_PUBLISH": "the loop looks whether the worker sleeps, then publishes",
            "LOOK_BEFORE_PARK": "the worker looks for work, then says that it sleeps",
            "CLEAR_AFTER_DELIVERY": "the loop delivers, then says that a delivery has begun",
            "NO_QUESTION_BEFORE_SLEEP": "the worker trusts its reads without the lock",
        },
    ),
    Model(
        name="native",
        sizes=(
            "-DN=3 -DENTRIES=1",
            "-DN=4 -DENTRIES=2",
            "-DN=4 -DENTRIES=3",
            "-DN=3 -DENTRIES=2 -DSTOP",
        ),
        bug_size="-DN=3 -DENTRIES=2 -DSTOP",
        bugs={
            "NO_FENCE_IN_UNPARK": "the loop's look passes its cursor",
            "NO_FENCE_IN_REQUEST": "the worker's look passes its cursor",
            "NO_FENCE_IN_PREPARE": "the worker looks for work before others see that it sleeps",
            "NO_FENCE_IN_CLEAR": "the loop reads the cursor before others see that it delivers",
            "LOOK_BEFORE_PUBLISH": "the loop looks whether the worker sleeps, then publishes",
            "LOOK_BEFORE_PARK": "the worker looks for work, then says that it sleeps",
            "CLEAR_AFTER_DELIVERY": "the loop delivers, then says that a delivery has begun",
            "NO_REQUEST_AT_THE_END": "few bytes are never told",
            "CURSOR_BEFORE_FLAG": "the worker reads the cursor, then whether the input is closed",
        },
    ),
    Model(
        name="ends",
        sizes=(
            "-DLANES=2 -DN=2 -DENTRIES=1",
            "-DLANES=2 -DN=1 -DENTRIES=2",
            "-DLANES=2 -DN=1 -DENTRIES=2 -DSTOP",
            "-DLANES=1 -DN=4 -DENTRIES=3 -DSTOP",
        ),
        bug_size="-DLANES=2 -DN=2 -DENTRIES=2 -DSTOP",
        bugs={
            "CURSOR_BEFORE_ENTRY": "the loop moves its cursor, then writes the entry",
            "FINISH_BEFORE_WORK": "the worker moves its cursor, then writes the result",
            "RELEASE_BEFORE_DELIVERY": "the loop releases an entry, then delivers its result",
            "EOF_OVERTAKES": "the end of input goes in before what is kept in the overflow",
            "CLOSE_OVERTAKES": "the close of a lane goes in before what is kept in the overflow",
            "SINK_IS_KEPT": "a lane that was given up still gets replies",
            "RECLAIM_EARLY": "a lent block is used again before its entry is released",
            "CURSOR_BEFORE_FLAG": "the worker reads the cursor, then whether the input is closed",
        },
    ),
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What an exploration found."""

    errors: int
    states: int


def explore(name: str, defines: str) -> Outcome:
    """Have spin go through every interleaving of one model.

    Raises:
        RuntimeError: spin or the compiler failed, or the memory did not suffice.
    """
    with tempfile.TemporaryDirectory() as directory:
        _run(["spin", *defines.split(), "-a", str(HERE / f"{name}.pml")], directory)
        _run(["gcc", "-O2", "-DSAFETY", "-DMEMLIM=1024", "-o", "pan", "pan.c"], directory)
        said = _run(["./pan", "-m1000000"], directory)
    errors = re.search(r"errors: (\d+)", said)
    states = re.search(r"(\d+) states, stored", said)
    is_incomplete = "Search not completed" in said and errors is not None and errors[1] == "0"
    if errors is None or states is None or is_incomplete or "max search depth too small" in said:
        raise RuntimeError(f"{name} {defines}: the exploration is not complete:\n{said}")
    return Outcome(int(errors[1]), int(states[1]))


def _run(command: list[str], directory: str) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> int:
    """Explore everything; say what was found; return the exit code."""
    for tool in ("spin", "gcc"):
        if shutil.which(tool) is None:
            print(f"error: no {tool} here (on Debian: apt-get install {tool})", file=sys.stderr)
            return 1
    wrong = 0
    for model in MODELS:
        for size in model.sizes:
            found = explore(model.name, size)
            wrong += found.errors != 0
            verdict = "no error" if not found.errors else f"{found.errors} ERRORS"
            print(f"{model.name} {size}: {found.states} states, {verdict}")
        for bug, meaning in model.bugs.items():
            found = explore(model.name, f"{model.bug_size} -D{bug}")
            wrong += found.errors == 0
            verdict = "found" if found.errors else "NOT FOUND"
            print(f"{model.name} with {bug} ({meaning}): {verdict}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
