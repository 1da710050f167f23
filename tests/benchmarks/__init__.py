"""The benchmarks themselves, run for moments only."""
