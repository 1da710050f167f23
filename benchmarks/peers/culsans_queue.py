"""A thread behind a culsans queue: `culsans_queue PORT asyncio|uvloop`."""

import sys

import culsans

from benchmarks.peers.queue_server import serve

if __name__ == "__main__":
    serve(culsans.Queue, int(sys.argv[1]), sys.argv[2])
