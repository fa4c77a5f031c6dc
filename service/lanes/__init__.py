"""The flow: messages in, records and changes out. No driver of Kafka or MongoDB is imported here.

In come messages as Kafka has them (`ports.Received`), handed over lane by lane; out go stored records (`ports.Store`)
and one transaction a batch with changes, states, dead letters and offsets (`ports.Log`). Read in this order:

    ports, bounds, health   what a lane needs of the world, what limits it, what it says of itself
    progress                how far a lane has come, and what has overtaken what
    inbox, waiting, in_hand what was handed over, cut into batches; what has more than its share; what is taken
    translate, usual, envelope, definitions   bytes → facts, requests, definitions, dead letters
    outgoing, forwarding    changes, states → bytes; what goes on as it was
    batch                   what a batch makes of records and courses; pure
    deciding, parts, preparing   a batch's records loaded, decided, stored, some at a time, whatever is in it
    lane, turns             all of that in order, and what happens after a failure: the theory of operation
    sweep, flood            deciding again after a new definition; noticing broken senders
    packed, failpoint       decisions as they are carried along; where tests let a process die
"""
