"""What callers hand over as bytes, as the flat view of bytes that everything here works on."""

from typing import Any

__all__ = ["byte_view"]


def byte_view(data: Any) -> memoryview:
    """Return `data`, anything with the buffer protocol, as a view of one dimension, format "B".

    Contiguous; of the same memory if that is contiguous, else of a copy. Thread: any.

    Raises:
        TypeError: `data` has no buffer.
    """
    view = memoryview(data)
    if not view.c_contiguous or not view.nbytes:  # a shape with a zero in it cannot be cast
        return memoryview(view.tobytes())
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")
