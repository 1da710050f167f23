"""Each example runs as its readers would run it, and prints what it says."""

import hashlib
import importlib.util
import os
import pathlib
import subprocess
import sys
import zlib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
WITHOUT_UVLOOP = (
    "no uvloop here (pip install 'asyncrev[uvloop]'); asyncio's loop instead\nolleh by asyncio\n"
)
HELLO = hashlib.sha256(b"hello").hexdigest()[:16]
EXPECTED = {
    "backpressure_client": (
        "stopped reading before the end: True\n"
        "unsent replies within the bound: True\n"
        "everything came after all: True\n"
    ),
    "beside_aiohttp": (
        f"line: {HELLO}\nhttp: {HELLO}\n"
        "stats: {'connections': 1, 'received_bytes': 6, 'aborted': {}}\n"
    ),
    "channel": "".join(hashlib.sha256(b"buffer %d" % n).hexdigest()[:16] + "\n" for n in range(10)),
    "checksum": f"{zlib.crc32(b'hello'):08x}\n",
    "compress_by_processes": "100 frames, compressed and back, by 2 workers\n",
    "dask_pipeline": "9ecb36561341d18e\n9ecb36561341d18e\ne6f6cfd54dc9690c\n",
    "fetch_over_http": "ox has 2 letters\nheron has 5 letters\nsalamander has 10 letters\n",
    "compress": "8800 bytes, compressed and back\n" * 2,
    "embed": "olleh\n",
    "frames": "HELLO!\n!\n",
    "length_prefixed_client": (
        "9 bytes: 586c39a6\n10 bytes: 317d2021\n100000 bytes: fe071171\n"
        "after the last answer: b''\n"
    ),
    "length_prefixed_server": "True 998001\n",
    "line_service": (
        "['ok', 'ok', '3 commands']\n"
        "['7', 'error: write add NAME NUMBER, get NAME, or mine', '3 commands']\n"
    ),
    "on_uvloop": "olleh by uvloop\n",
    "sha256": (
        "d29751f2649b32ff\n1fb6a051d8996888\nd95df32a84545f36\n21f9b56105cdbdcd\n"
        "2 threads had work\n"
    ),
    "submit": "one 7692c3ad\ntwo 3fc4ccfe\nthree 8b5b9db0\nfour was given up\n",
    "tls": "TLSv1.3\nolleh\ndlrow\n",
    "unix_socket": "olleh\n'PATH' is in use by another server; name another path\nleft: []\n",
}
# Packages without which an example cannot run; some have no wheel for a new interpreter.
NEEDED = {
    "beside_aiohttp": "aiohttp",
    "dask_pipeline": "distributed",
    "fetch_over_http": "aiohttp",
    "tls": "trustme",
}
if importlib.util.find_spec("uvloop") is None:
    EXPECTED["on_uvloop"] = WITHOUT_UVLOOP


def test_every_example_is_run() -> None:
    """A new example belongs into the table above."""
    assert {path.stem for path in ROOT.glob("examples/[a-z]*.py")} == set(EXPECTED)


def run(name: str, *before: str) -> "subprocess.CompletedProcess[str]":
    """Run an example, with warnings as errors; `before`: statements to execute first."""
    path = ROOT / "examples" / f"{name}.py"
    code = ";".join((*before, f"import runpy; runpy.run_path({str(path)!r}, run_name='__main__')"))
    how = ["-c", code] if before else [str(path)]
    # In debug mode asyncio would also write what took long, which depends on the machine.
    environment = {name: os.environ[name] for name in os.environ if name != "PYTHONASYNCIODEBUG"}
    return subprocess.run(
        [sys.executable, "-W", "error", *how],
        capture_output=True,
        text=True,
        timeout=30,
        env=environment,
    )


@pytest.mark.process
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_example_prints_what_it_says(name: str) -> None:
    """Warnings are errors in examples too."""
    if name in NEEDED:
        pytest.importorskip(NEEDED[name])
    done = run(name)
    assert (done.stdout, done.stderr, done.returncode) == (EXPECTED[name], "", 0)


@pytest.mark.process
def test_example_without_uvloop_says_so_and_runs() -> None:
    """It is an extra, so it may be missing."""
    done = run("on_uvloop", "import sys", "sys.modules['uvloop'] = None")
    assert (done.stdout, done.stderr, done.returncode) == (WITHOUT_UVLOOP, "", 0)
