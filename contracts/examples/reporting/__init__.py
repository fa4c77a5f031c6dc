"""Reporting: a service downstream of Ratchet that keeps a star schema for BI tools, as an example to build on.

    messages      what the two topics say, as values; no I/O
    schema        the tables, the view, and the database that they stand in
    store         a batch and the offsets behind it, in one transaction
    reading       both topics, from where the database says
    settings, errors   the ground

`python -m contracts.examples.reporting` wires it. README.md tells how to run it, and what it survives.
"""
