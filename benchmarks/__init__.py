"""Benchmarks: asyncrev and its peers in turns under a load generator that verifies every reply."""
