"""Several worker processes behind the same addresses, and the process that keeps them running.

Thread: the loop's of the supervisor; `worker` and its channel's other end run on a worker's loop.
Imports: server, admin's sources and below; nothing of options, signals or the log.
"""
