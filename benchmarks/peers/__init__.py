"""Servers to compare with: small programs, each written as a good user would write it."""
