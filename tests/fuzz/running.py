"""Runs a fuzz target: a module with NAME, `check`, `corpus` and `mutated`."""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.support import ROOT


def run(target: Any, inputs: int, seed: int, save_to: Path) -> Path | None:
    """Check `inputs` mutated inputs; return the file of the first that fails, or None."""
    source = random.Random(seed)
    seeds = target.corpus()
    for number in range(inputs):
        data = target.mutated(source, seeds)
        try:
            target.check(data)
        except BaseException as error:
            path = save_to / f"{target.NAME}-{seed}-{number}"
            path.write_bytes(data)
            print(f"input {number} of seed {seed}: {error!r}; saved as {path}", file=sys.stderr)
            return path
    return None


def run_in_two_processes(target: Any, inputs: int, save_to: Path) -> None:
    """Check `inputs` mutated inputs in each of two processes; fail if one fails."""
    command = [sys.executable, "-m", target.__name__, "--save-to", str(save_to)]
    processes = [
        subprocess.Popen(
            [*command, "--inputs", str(inputs), "--seed", str(seed)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in (1, 2)
    ]
    for process in processes:
        out, err = process.communicate()
        print(out, end="")
        assert process.returncode == 0, err


def main(target: Any) -> int:
    """Run as a script; 0 when nothing failed."""
    parser = argparse.ArgumentParser(description=f"Check the target {target.NAME}.")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--save-to", type=Path, default=Path(tempfile.gettempdir()), help="for an input that fails"
    )
    parser.add_argument("files", nargs="*", type=Path, help="check these inputs instead")
    options = parser.parse_args()
    for path in options.files:
        target.check(path.read_bytes())
    if options.files:
        return 0
    start_s = time.perf_counter()
    failed = run(target, options.inputs, options.seed, options.save_to)
    if failed is not None:
        return 1
    took_s = time.perf_counter() - start_s
    print(
        f"{options.inputs} inputs of seed {options.seed} in {took_s:.1f} s "
        f"({options.inputs / took_s:.0f}/s), none failed"
    )
    return 0
