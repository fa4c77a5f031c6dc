"""What administrators and operators ask for, as functions: the command line and other faces call them.

In come files, ids and settings; out go values that a face renders, and messages that are sent as the LMS would send
them. Nothing here prints or asks. Read what you are after:

    spreadsheet, delimited, workbook                       tables that people hand in, as they see them
    attendance_file, words, rows                           what their rows mean, and which of them count
    uploads, reassignments                                 many learners at once; `impact` tells beforehand
    courses, rules_diff                                    definitions and tables, tried before they count
    story, learners                                        why a learner stands as they stand; given out, erased
    dead_letters, lag, skips                               what went wrong, how far behind, what is given up
    simulate                                               the rules without any server
"""
