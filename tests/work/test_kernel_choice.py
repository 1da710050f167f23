"""kernel_choice: what the native plane answers by itself, and what it leaves to Python."""

from typing import Any

import pytest

from asyncrev import Reverse
from asyncrev.frames.registry import FRAMINGS
from asyncrev.processors import FunctionProcessor
from asyncrev.ring.row import Kernel
from asyncrev.work.kernel_choice import kernel_for
from tests.planes import PYTHON


@pytest.mark.parametrize(
    ("framing", "kernel"),
    [
        (None, Kernel.REVERSE),
        ("line", Kernel.LINES),
        ("len32", Kernel.LEN32),
        ("len64", Kernel.LEN64),
    ],
)
def test_reverse_has_a_kernel_for_each_grammar_of_ours(framing: Any, kernel: Kernel) -> None:
    """And for chunks."""
    assert kernel_for(Reverse(), framing and FRAMINGS[framing]) is kernel


class Derived(Reverse):
    """Reverses as its base does, until it is changed."""


class Louder(Reverse):
    """Does something else with a chunk."""

    def process(self, chunk: memoryview) -> bytes:
        """Answer in capitals."""
        return bytes(chunk).upper()


class LouderLines(Reverse):
    """Does something else with lines."""

    def process_lines(self, lines: memoryview) -> bytes:
        """Answer in capitals."""
        return bytes(lines).upper()


@pytest.mark.parametrize("kind", [Louder, LouderLines])
@pytest.mark.parametrize("framing", [None, *FRAMINGS])
def test_class_that_changes_a_method_has_none(kind: Any, framing: Any) -> None:
    """Not even for what it has not changed: a method may call another."""
    assert kernel_for(kind(), framing and FRAMINGS[framing]) is Kernel.NONE


def test_object_with_a_method_of_its_own_has_none() -> None:
    """A class that only adds to `Reverse` has one."""
    assert kernel_for(Derived()) is Kernel.REVERSE
    changed = Derived()
    changed.process = bytes  # type: ignore[method-assign]
    assert kernel_for(changed) is Kernel.NONE


def test_grammar_of_a_derived_class_has_none() -> None:
    """It may find other frames."""
    assert {kernel_for(Reverse(), grammar) for grammar in PYTHON.values()} == {Kernel.NONE}


def test_other_processors_have_none() -> None:
    """A function that reverses, too: nobody knows what it does."""
    assert kernel_for(FunctionProcessor(lambda data: data[::-1])) is Kernel.NONE
    assert kernel_for(None) is Kernel.NONE
