"""MongoDB: the one room that imports its driver. One file a subject, each with the collections that it names.

In come and out go the values of service.lanes.ports. Read in this order:

    driver                    the client, and what its errors mean here
    documents                 values as documents, and back
    records, courses, notes, skips   the Store that lanes need
    tombstones                why what was erased does not come back
    learners, record_keys, listing, replays, republished, uploads, jobs, deliveries, audit   what only faces need
    store                     all of it, on one database
"""
