"""What Ratchet decides: pure functions over immutable values.

Theory of operation. A record is one learner's standing in one course. Facts about it (attendance, progress,
equivalency, reassignment) are kept in the order in which they happened, `(changed_at, message_id)`, whatever the
order of their arrival. Folding a fact sets one step's value; the requirement arithmetic turns the value into a percent
and a verdict; the step table decides the step; the course table decides the course and its certificate. A fact newer
than all known ones is folded onto the standing (the usual case); any other has the current attempt folded again from
its start, with the one thing that is never folded away: a completion already decided (P1). What differs between the
standing before and after is announced, as numbered changes.

`tables` compiles the YAML decision tables, `requirement` holds the arithmetic, `fold` moves a standing along,
`decide` places a fact in a record, `explain` tells the story of a record, `compare` what other tables would decide.
Nothing here reads a clock, a file other than its own tables, or a network; time comes in as an argument.
"""
