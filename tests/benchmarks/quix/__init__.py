"""Run by itself, in an environment of its own: nothing here is imported by the tests."""
