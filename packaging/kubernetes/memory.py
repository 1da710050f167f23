"""Print the memory that a container needs for options of `asyncrev serve`.

    $ python packaging/kubernetes/memory.py --framing=line --max-connections=1000
    memory: 367Mi

It starts the server with these options, at a free port of the loopback interface, and ends it once
it has logged its memory bound. To that it adds a base: what the process takes without connections.
"""

import json
import math
import subprocess
import sys

MIB = 2**20
# An idle process takes 35 to 39 MiB, the admin endpoint 6, log lines that are not read up to 4
# (docs/memory.md). The rest is for what the kernel counts as the container's: page tables, sockets.
BASE_BYTES = 64 * MIB

# Of an option that is given twice, the last value counts.
HERE = ("--host=127.0.0.1", "--port=0", "--log-format=json", "--log-level=info")


def bound_bytes(args: list[str]) -> int:
    """Return the memory bound that a server with these options logs.

    Raises:
        SystemExit: it does not start; its message has been printed.
    """
    admin = ["--admin=127.0.0.1:0"] if any(arg.startswith("--admin") for arg in args) else []
    command = [sys.executable, "-m", "asyncrev", "serve", *args, *HERE, *admin]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        for line in server.stderr:
            found = json.loads(line) if line.startswith("{") else {"message": line.rstrip()}
            if "memory_bound_bytes" in found:
                server.terminate()
                server.communicate()
                return int(found["memory_bound_bytes"])
            print(found["message"], file=sys.stderr)
    raise SystemExit(server.returncode or 1)


def limit_mib(args: list[str]) -> int:
    """Return what a container with these options needs, in whole MiB."""
    return math.ceil((bound_bytes(args) + BASE_BYTES) / MIB)


if __name__ == "__main__":
    print(f"memory: {limit_mib(sys.argv[1:])}Mi")
