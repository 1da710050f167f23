"""The command `asyncrev`: options, logging, signals, and a server that runs until a signal.

Thread: the main thread, unless a docstring says otherwise: `log_output` writes on its own thread,
and `taps` are called on the workers' threads. Imports: any package except `testing`; only
`__main__` imports this one. Click is imported here only.
"""
