"""Exit codes of the command. They are part of its interface and listed in its help."""

__all__ = ["EXIT_CLEAN", "EXIT_DRAIN_ABORTED", "EXIT_RUNTIME_ERROR", "EXIT_USAGE"]

EXIT_CLEAN = 0
EXIT_RUNTIME_ERROR = 1
EXIT_USAGE = 2
EXIT_DRAIN_ABORTED = 3
