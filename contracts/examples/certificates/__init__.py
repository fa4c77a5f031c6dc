"""Issues an Open Badges 3.0 credential for each certificate that Ratchet tells of, and marks it when it is revoked.

In come changes of completions, and learners who were erased; out go credentials over HTTP, signed, with a status list.

    badges    what a credential and a status list say; pure
    signing   the issuer's key, made on the first start, and its proofs (eddsa-jcs-2022)
    store     credentials, statuses and cursors in SQLite
    reading   topics → store, each change once: by contracts.reader
    web       credentials and status lists, for who has to look at them
"""
