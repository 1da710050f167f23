"""The server: listening sockets, arriving and open connections, graceful shutdown.

Thread: the loop's. A server runs on any event loop. Of asyncrev these modules import each other,
the protocol of a connection, the bridge, and what is below these; not `loop`, `command` or
`testing`.
"""
