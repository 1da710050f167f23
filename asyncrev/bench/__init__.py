"""A load generator for servers that answer what they receive: `asyncrev bench`.

Thread: the main thread of each process that sends; there is no other. Imports: `frames` and root
modules; hdrhistogram by `latencies`, and matplotlib by `report_png` alone.
"""
