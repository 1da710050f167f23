"""The hand-off between the two threads: slots, the two sides of the ring, and their wake-ups.

Thread: `loop_side` and a channel's loop side belong to the loop, `thread_side` to the worker; the
methods of `ring` and `wakeups` state which thread may call them. Imports: root modules, and
`native` for the choice of a plane; `ring`, `thread_side` and `wakeups` do not import asyncio, not
even indirectly.
"""
