"""What a person can do something about."""


class Mend(Exception):
    """Something must be mended first; the message says what, in one line."""
