"""The limit of open files, which is raised to what the connections need."""

import logging
import resource

from asyncrev.errors import LocalError

__all__ = ["descriptor_warning", "raise_descriptor_limit"]

logger = logging.getLogger("asyncrev")

# Other descriptors than connections: standard streams, listener, epoll, self-pipe, tee, modules.
SPARE_DESCRIPTORS = 64


def raise_descriptor_limit(needed: int) -> None:
    """Raise RLIMIT_NOFILE to `needed` and some spare ones; warn if the hard limit is lower.

    Thread: main.

    Raises:
        LocalError: the system refuses what the hard limit allows.
    """
    wanted = needed + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    reach = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, reach), hard))
    except (OSError, ValueError) as error:
        raise LocalError(f"cannot raise the limit of open files to {reach}: {error}") from None
    warning = descriptor_warning(needed)
    if warning is not None:
        logger.warning("%s", warning)


def descriptor_warning(needed: int) -> str | None:
    """Return a warning if the hard limit of open files is too low for `needed` and spare ones."""
    wanted = needed + SPARE_DESCRIPTORS
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        return None
    return (
        f"this process may open only {hard} descriptors (ulimit -n), and needs {wanted} for all "
        "the connections that it may have; beyond that, accepting waits"
    )
