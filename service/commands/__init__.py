"""The command `ratchet`: asks and shows; what is done stands in `service.admin`.

In come arguments and the environment; out go tables or, with `--json`, lines for programs, and an exit status. Each
file imports what it needs when it is called, so that the others start quickly. Read `common` first.

    main                              wires them; what the command ends with
    serve, topics, lag, skip          operators
    upload, reassign                  many learners at once
    courses, definitions              course definitions: looked at and tried; sent and released
    explain, learner, state, dead_letters    one learner, all states, one message
    contracts                         schemas for a registry
    web, audit                        API and console; who changed what there
    rules, rules_diff, simulate       the decision tables, and what they make of messages
"""
