"""The server: listening sockets, arriving and open connections, graceful shutdown.

Thread: the loop's, for everything here. Imports: `connection`, `bridge`, `work`, `ring`, `frames`,
root modules; not `loop`, so that a server runs on any event loop.
"""
