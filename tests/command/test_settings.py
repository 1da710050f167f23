"""settings: loops, processors and words that option values ask for."""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncrev.command.settings import ServeSettings
from tests.certificates import Issuer
from tests.command_line import invoke


def test_asyncio_and_uvloop_give_their_loops(served: list[ServeSettings]) -> None:
    """By a factory: policies are gone in Python 3.16."""
    assert invoke("serve", "--loop", "asyncio").exit_code == 0
    assert served[0].loop_factory is asyncio.SelectorEventLoop
    uvloop = pytest.importorskip("uvloop")
    assert invoke("serve", "--loop", "uvloop").exit_code == 0
    assert served[1].loop_factory is uvloop.new_event_loop


def test_stop_word_may_be_any_bytes(served: list[ServeSettings]) -> None:
    """Bytes that are no UTF-8 used to end in a traceback."""
    word = b"\xff\xfe"
    assert invoke("serve", "--stop-word", os.fsdecode(word)).exit_code == 0
    assert served[0].stop_word == word


def test_cores_follow_the_load_with_tls_and_cpu_auto_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: list[ServeSettings]
) -> None:
    """Who names a core, or wants none, gets that."""
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: True, raising=False)
    tls = ("--ssl-certfile", Issuer(tmp_path).issue("localhost"))
    allowed = frozenset(os.sched_getaffinity(0))
    for arguments in (tls, (), (*tls, "--cpu", "any"), (*tls, "--cpu", str(min(allowed)))):
        assert invoke("serve", *arguments).exit_code == 0
    assert [settings.more_cpus for settings in served] == [allowed, *[frozenset()] * 3]


def test_missing_uvloop_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, served: list[ServeSettings]
) -> None:
    """Exit 2: it is the command line that asks for it."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    result = invoke("serve", "--loop", "uvloop")
    assert result.exit_code == 2
    assert result.output == (
        "asyncrev: error: --loop uvloop: uvloop is not installed; pip install "
        "'asyncrev[uvloop]', or use --loop epoll\n"
    )
    assert not served


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A processor module of a user, in the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    path = tmp_path / "users_module.py"
    path.write_text("class Outer:\n    @staticmethod\n    def work(data): return data.upper()\n")
    yield path
    sys.modules.pop("users_module", None)


def test_processor_is_found_in_the_current_directory(
    module: Path, served: list[ServeSettings]
) -> None:
    """As with `python -m`, and with dots behind the colon."""
    result = invoke("serve", "--processor", "users_module:Outer.work")
    assert result.exit_code == 0, result.output
    processor = served[0].factory()
    assert processor.process(memoryview(bytearray(b"abc"))) == b"ABC"


def test_processor_module_that_exits_is_one_line_too(module: Path) -> None:
    """It would end the command without a word otherwise."""
    module.write_text("raise SystemExit(0)\n")
    result = invoke("serve", "--processor", "users_module:x")
    assert result.exit_code == 2
    assert result.output.startswith("asyncrev: error: --processor 'users_module:x': importing it")
    assert "SystemExit(0)" in result.output


def test_processor_module_that_raises_is_one_line(module: Path) -> None:
    """A mistake in a user's module reads like one."""
    module.write_text("raise RuntimeError('no\\nlicence')\n")
    result = invoke("serve", "--processor", "users_module:x")
    assert result.exit_code == 2
    assert result.output == (
        "asyncrev: error: --processor 'users_module:x': importing it raised "
        f"RuntimeError('no\\nlicence') ({module}, line 1)\n"
    )
