"""Conversion of bytes-like objects to flat views of bytes."""

from typing import Any

__all__ = ["byte_view"]


def byte_view(data: Any) -> memoryview:
    """Return `data`, anything with the buffer protocol, as a view of one dimension, format "B".

    The view is contiguous: of the same memory if that is contiguous, else of a copy. Thread: any.

    Raises:
        TypeError: `data` does not support the buffer protocol.
    """
    view = memoryview(data)
    if not view.c_contiguous or not view.nbytes:  # a shape with a zero in it cannot be cast
        return memoryview(view.tobytes())
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")
