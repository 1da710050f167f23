"""The recipe for Ray in docs/howto/use-executors.md, run as it stands, where Ray is installed."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed"),
]

PAGE = ROOT / "docs" / "howto" / "use-executors.md"
PROGRAM = """
import asyncio, asyncrev, ray_executor, work
from asyncrev.executors.settings import ExecutorSettings


async def main():
    settings = ExecutorSettings(workers=ray_executor.WORKERS)
    async with await asyncrev.serve(
        "127.0.0.1", 0, processor=work.upper, framing="line",
        executor=ray_executor.make, executor_settings=settings,
    ) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        data = b"".join(b"line %d\\n" % number for number in range(2000))
        writer.write(data)
        writer.write_eof()
        assert await reader.read() == data.upper()
        writer.close()
    print("in order")


asyncrev.run(main())
"""


def test_recipe_serves_in_order(tmp_path: Path) -> None:
    """With the module of the page."""
    blocks = re.findall(r"```\{code-block\} python\n(.*?)```", PAGE.read_text(), re.S)
    recipe = next(block for block in blocks if "import ray" in block)
    (tmp_path / "ray_executor.py").write_text(recipe)
    (tmp_path / "work.py").write_text("def upper(frame):\n    return frame.upper()\n")
    path = os.pathsep.join((str(tmp_path), str(ROOT)))
    with (tmp_path / "said").open("w") as said:  # daemons of Ray would keep a pipe open
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            stdout=said,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": path},
            check=False,
            timeout=150,
        )
    text = (tmp_path / "said").read_text()
    assert done.returncode == 0, text
    assert "in order" in text
