"""Tests of the command's package, one file per module."""
