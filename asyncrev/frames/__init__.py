"""Grammars of frames: where frames begin and end in bytes, and how replies are framed.

Pure bytes: nothing here keeps state, waits, or knows of threads. Any thread may call anything; the
worker's framer does, for every chunk. Modules of this package import the root modules of asyncrev
(`errors`) and one another, and neither asyncio, threading, socket, select nor time.
"""
