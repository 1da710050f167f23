"""Tests of asyncrev."""
