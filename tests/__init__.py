"""Mirrors the packages; `scenarios` are golden cases, `faults` crashes, `stack` starts real servers."""
