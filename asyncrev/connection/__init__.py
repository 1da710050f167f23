"""One socket: its protocol on a bridge, what pauses its reading, its deadlines and its end.

Thread: the loop's, for everything in these modules. They import each other, the bridge's modules
and what those import, and modules of the root; never `loop`, so that they run on any event loop,
and never the server.
"""
