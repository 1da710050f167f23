"""What the loop's thread does for all connections: who may publish what, and where results go.

Thread: the loop, except where a docstring says otherwise. Imports: `work`, `ring`, `frames`, root
modules; never `loop`, so that it runs on any event loop.
"""
