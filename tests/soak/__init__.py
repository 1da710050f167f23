"""A long run of real servers under a mixed load: `python -m tests.soak --minutes 10`."""
