"""`ratchet serve` on a machine whose clock is wrong: `clock.py SECONDS`, ahead or, where negative, behind.

What measures how long something takes is right, as it is on a machine like that.
"""

import sys
import time

_shift_seconds = float(sys.argv[1])
_right = time.time


def shifted() -> float:
    """Seconds since 1970, as this machine has it."""
    return _right() + _shift_seconds


time.time = shifted  # before anything else is imported, or it would keep the right one

from service.commands.main import main  # noqa: E402

sys.argv = ["ratchet", "serve"]
main()
