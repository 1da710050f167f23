"""Classes without a base, for tests of what counts as a processor."""


class Whole:
    """Has both methods, and no base."""

    def process(self, chunk: memoryview) -> None:
        """Answer nothing."""

    def eof(self) -> None:
        """Answer nothing."""


class Half:
    """Has one of the two methods."""

    def process(self, chunk: memoryview) -> None:
        """Answer nothing."""
