"""Scripts by which shells complete `asyncrev`; click makes them, and answers their questions."""

import click
from click.shell_completion import ShellComplete, get_completion_class

__all__ = ["SHELLS", "completion_script"]

SHELLS = ("bash", "zsh", "fish")


def completion_script(root: click.Command, shell: str) -> str:
    """Return the script for one of `SHELLS`; it asks the command that is typed.

    The variable's name is click's choice for a program called asyncrev.
    """
    kind = get_completion_class(shell)
    assert kind is not None, shell
    # The base's method: that of bash would run bash for its version.
    script = ShellComplete.source(kind(root, {}, "asyncrev", "_ASYNCREV_COMPLETE"))
    return script.strip() + "\n"
