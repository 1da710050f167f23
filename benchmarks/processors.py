"""What `asyncrev serve --processor` loads for the benchmarks."""

__all__ = ["reverse"]


def reverse(chunk: bytes) -> bytes:
    """Return the bytes of a chunk in reverse order, as any function of a user would."""
    return chunk[::-1]
