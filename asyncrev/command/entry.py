"""The entry point, which sets up standard descriptors and signals before anything slow."""

import atexit
import os
import sys

from asyncrev.command.exit_codes import EXIT_USAGE
from asyncrev.command.signals import ProcessSignals
from asyncrev.command.standard_streams import drop_unwritable_streams, open_closed_streams
from asyncrev.errors import SettingsError

__all__ = ["main"]


def main() -> None:
    """Run `asyncrev` with the arguments of this process.

    Raises:
        SystemExit: always, with the exit code.
    """
    # Before a module can start a child, which would inherit it.
    worker = os.environ.pop("ASYNCREV_WORKER_FDS", None)
    signals = ProcessSignals(owns_process=True)
    signals.take_over()
    os.register_at_fork(after_in_child=signals.give_back)
    atexit.register(signals.ignore)  # the first to be registered is the last to run
    try:
        open_closed_streams()
        if worker is not None:
            from asyncrev.command.working import work_until_told

            sys.exit(work_until_told(worker, signals))
        from asyncrev.command.cli import main as command  # takes several tenths of a second

        command(prog_name="asyncrev", obj=signals)
    except SettingsError as error:  # of an import: ASYNCREV_PLANE cannot be fulfilled
        print(f"asyncrev: error: {error}", file=sys.stderr)
        sys.exit(EXIT_USAGE)
    except OSError as error:
        # One without a name is of a write of the help or the version.
        where = "" if error.filename is not None else "cannot write to stdout: "
        what = error if error.filename is not None else error.strerror or error
        sys.exit(f"asyncrev: error: {where}{what}")
    finally:
        drop_unwritable_streams()
