"""Other clients against the real service: what they send counts once, and they read what goes out.

A small program for each client does what it is asked (program.py); build.py makes the programs, clients.py names them.
plan.py says which cells there are, messages.py what each sends. run.py has them done, in a world of their own for each
way to configure topics; judge.py and readers.py compare with what had to come. report.py writes it down; matrix.py is
the command.
"""
