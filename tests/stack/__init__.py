"""Starts real servers for the tests and for `make run`, on free ports, and stops what it started."""
