"""Grammars of frames: where frames begin and end in bytes, and how replies are framed.

Thread: any may call anything, because nothing here keeps state or waits; the worker's framer does,
for every chunk. Imports: root modules only, and nothing that waits (asyncio, threading, socket,
select, time).
"""
