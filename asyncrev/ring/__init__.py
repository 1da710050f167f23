"""The hand-off between the two threads: slots, the two sides of the ring, how they wake each other.

Thread: `loop_side` and a channel's loop side belong to the loop, `thread_side` to the worker; each
method of `ring` and `wakeups` says which thread may call it. Imports: root modules only; `ring`,
`thread_side` and `wakeups` never reach asyncio.
"""
