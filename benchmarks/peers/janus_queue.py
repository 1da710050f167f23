"""A thread behind a janus queue: `janus_queue PORT asyncio|uvloop`."""

import sys

import janus

from benchmarks.peers.queue_server import serve

if __name__ == "__main__":
    serve(janus.Queue, int(sys.argv[1]), sys.argv[2])
