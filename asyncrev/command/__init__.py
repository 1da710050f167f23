"""The command `asyncrev`: options, logging, signals, and a server that runs until a signal.

Thread: main, unless a docstring says otherwise: `log_output` writes on a thread of its own, and
`taps` are called on workers' threads. Any module may import the rest of asyncrev; nothing outside
imports this package, but `__main__`. Click is imported here only.
"""
