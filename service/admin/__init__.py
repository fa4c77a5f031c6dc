"""What administrators and operators ask for, as functions: the command line and other faces call them.

In come files, ids and settings; out go values that a face renders, and messages that are sent as the LMS would send
them. Nothing here prints or asks. Read what you are after:

    files/, formats/                              tables that people hand in, as they see them, and exports of programs
    kinds, columns, directory, reading            what can be uploaded; where it stands; who it is; what a row means
    noted, connections, schedule, rows            all rows together: which of them count, and as what
    uploads, reassignments, messages              many learners at once; messages that come otherwise than by Kafka
    jobs, job_work, desk                          the same for faces that do not wait: it goes on when they have left
    impact, newcomers, following                  told beforehand, and once it is decided
    courses, rules_diff, story, records, learners, what_if   definitions and tables tried; why a learner stands so
    dead_letters, lag, lag_history, skips, simulate   what went wrong, how far behind, what is given up; without servers
    changes, states, registry, trail              what goes out; what goes out anew; its schemas; who changed what
"""
