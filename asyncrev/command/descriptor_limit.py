"""The limit of open files, which is raised to what the connections need."""

import logging
import resource

from asyncrev.errors import LocalError

__all__ = ["raise_descriptor_limit"]

logger = logging.getLogger("asyncrev")

# Other descriptors than connections: standard streams, listener, epoll, self-pipe, tee, modules.
SPARE_DESCRIPTORS = 64


def raise_descriptor_limit(max_connections: int) -> None:
    """Raise RLIMIT_NOFILE to what `max_connections` need; warn if the hard limit is lower.

    Thread: main.

    Raises:
        LocalError: the system refuses what the hard limit allows.
    """
    wanted = max_connections + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    reach = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, reach), hard))
    except (OSError, ValueError) as error:
        raise LocalError(f"cannot raise the limit of open files to {reach}: {error}") from None
    if reach < wanted:
        logger.warning(
            "max_connections is %d, but this process may open only %d descriptors (ulimit -n); "
            "beyond that, accepting waits",
            max_connections,
            reach,
        )
