"""Kafka: the one room that imports aiokafka and FastStream.

In come polled records and what the consumer group assigns; out go messages to lanes, and each lane's transactions.
Read in this order:

    clients, partitioner    how clients are made; where a key belongs
    topics, rights          created and checked; what the user may do with them, and what each part needs
    batches, uncompress     what is read of record batches: nothing lost, bounded, and what cannot be read is named
    consumer                the worker's consumer, which FastStream makes
    transactions            those that other producers have left open
    assignment              the group's assignment as lanes: opened, fed, watched, closed
    frames, registry        values that begin with the id of their schema; a registry of schemas
    log, lane_progress      one lane's transactional producer and offsets, the Log of service.lanes.ports
    sender                  messages of administrators
    dead_letters, lag, committed, changes, unreadable   what faces read of Kafka
"""
