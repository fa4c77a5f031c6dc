"""The flow: messages in, records and changes out. No driver of Kafka or MongoDB is imported here.

In come messages as Kafka has them (`ports.Received`), handed over lane by lane. Out go stored records (`ports.Store`)
and one transaction a batch with changes, dead letters and offsets (`ports.Log`). Read in this order:

    ports, bounds, health   what a lane needs of the world, what limits it, what it says of itself
    progress                how far a lane has come, and what has overtaken what
    inbox, waiting, in_hand what was handed over, cut into batches; what has more than its share; what is taken
    translate, definitions  bytes → facts, requests, definitions, dead letters; changes → bytes (envelope: CloudEvents)
    batch                   what a batch makes of records and courses; pure
    deciding, parts         a batch's records loaded, decided, stored, some at a time
    preparing               messages → stored records, whatever is in them
    lane                    all of that in order, and what happens after a failure: the theory of operation
    sweep, flood            deciding again after a new definition; noticing broken senders
    packed, failpoint       decisions as they are carried along; where tests let a process die
"""
