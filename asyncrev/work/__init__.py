"""What runs on the worker's thread: lanes' processors, frames put together, blocks of memory.

Thread: the worker, except where a docstring says otherwise. Imports: `ring`, `frames`, root
modules; never asyncio.
"""
