"""Named places where a test lets the process die, as a power cut would: `RATCHET_FAILPOINT=after_store` or `…:3`.

The number says at which time the place is reached (1 unless given). Without the variable nothing happens.
"""

import os
import signal
from collections import Counter
from typing import Literal, get_args

from service.errors import FixConfiguration

Place = Literal["after_load", "after_store", "after_first_send", "before_commit", "after_commit"]
VARIABLE = "RATCHET_FAILPOINT"

_wanted, _, _number = os.environ.get(VARIABLE, "").partition(":")
if _wanted and (_wanted not in get_args(Place) or not (_number or "1").isdigit()):
    raise FixConfiguration(f"{VARIABLE}: must be one of {', '.join(get_args(Place))}, with an optional :number")
_reached: Counter[str] = Counter()


def reach(place: Place) -> None:
    """Die here if the environment says so."""
    if place == _wanted:
        _reached[place] += 1
        if _reached[place] == int(_number or 1):
            os.kill(os.getpid(), signal.SIGKILL)
