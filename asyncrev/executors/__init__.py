"""Executors: frames are answered by processes, threads, interpreters or a Dask cluster.

Thread: the loop's, but for `remote` and `results`, which run in the workers of executors, and the
methods of `pools`, which may block and run on threads of their own.
Imports: `ring` (the wake-up of the loop) and the root.
"""
