"""What the compiled extension `asyncrev.native._plane` offers: the ring, its plane, its wake-ups.

Its classes are like those of `asyncrev.ring`, which are the reference and say what each method
does: `Row` and `Work` (`row`), `Entry` (`entry`), `Ring` (`ring`), `Plane` (`plane`), `Parker` and
`DeliverySignal` (`wakeups`). They differ in this:

- They go together, and not with those in Python.
- `receive`, `deliver`, and the part of `wait` and `answer` that needs no Python run without the
  GIL.
- The columns of a ring are no attributes. `Ring.free_slots`, `free_small_slots` and `slot_of` are
  new lists, for tests.
- `Plane.open` uses the descriptor itself, and none of the two functions.
- Sequence numbers that are not in the ring raise IndexError, numbers out of range ValueError, and
  objects of other classes TypeError.

It is written in C: `plane_core_*.c`, and the other `plane_*.c` over it.
"""

from typing import Any

from asyncrev.native.kernels import check_interface

__all__ = ["INTERFACE", "as_plane"]

# Changes with what Python sees of it, so that a file that was built from other sources is not used.
INTERFACE = 3


def as_plane(module: Any) -> Any:
    """Return the extension `module`; raise ImportError as `check_interface` does."""
    check_interface(module, INTERFACE)
    return module
