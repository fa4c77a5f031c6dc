"""Carries decisions across Kafka and MongoDB, each taking effect once.

A message comes in, is translated, decided, stored, published. Rooms, each using only what stands below it:

    commands/   the command line; `main` wires it
    app         the one place where the processes, a worker and `ratchet web`, are wired
    web/        HTTP
    admin/      what administrators and operators ask for, as functions
    mongo/      the store; MongoDB's driver is imported nowhere else
    kafka/      consumer, assignment of lanes, transactional log; Kafka's clients are imported nowhere else
    lanes/      the flow of messages, and the ports through which it sees the world
    settings, metrics, traces, logs, clock, errors   the ground; settings_table and settings_schema write documents

To follow a message, read the rooms' docstrings from `lanes` up.
"""
