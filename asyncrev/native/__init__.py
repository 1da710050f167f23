"""Optional C code, and the choice between it and the Python code that does the same.

Thread: any. Imports: the modules of the root.
"""
