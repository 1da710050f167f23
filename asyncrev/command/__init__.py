"""The command `asyncrev`: options, logging, signals, and a server that runs until a signal.

Thread: the main thread, unless a docstring says otherwise: `log_output` writes on a thread of its
own, and `taps` are called on workers' threads. Imports: any package but `testing`; nothing imports
this one but `__main__`. Click is imported here only.
"""
