"""One socket: its protocol on a bridge, what pauses its reading, its deadlines and its end.

Thread: the loop's, for everything here. Imports: `bridge`, `work`, `ring`, `frames`, root modules;
never `loop`, so that a connection runs on any event loop, and never `server`.
"""
