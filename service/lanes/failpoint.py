"""Named places where a test lets the process die, as a power cut would, or stand still.

`RATCHET_FAILPOINT=after_store`, or `after_store:3` for the third time that the place is reached; `after_store:3:60`
blocks the event loop there for 60 seconds instead. Without the variable nothing happens.
"""

import os
import re
import signal
import time
from collections import Counter
from typing import Literal, get_args

from service.errors import FixConfiguration

Place = Literal["after_load", "mid_store", "after_store", "after_first_send", "before_commit", "after_commit"]
VARIABLE = "RATCHET_FAILPOINT"

_said = re.fullmatch(rf"({'|'.join(get_args(Place))}|)(?::(\d+))?(?::(\d+))?", os.environ.get(VARIABLE, ""))
if _said is None:
    raise FixConfiguration(f"{VARIABLE}: must be one of {', '.join(get_args(Place))}, with an optional :number:seconds")
_wanted, _number, _blocked_seconds = _said[1], int(_said[2] or 1), int(_said[3] or 0)
_reached: Counter[str] = Counter()


def expects(place: Place) -> bool:
    """Whether something is to happen at this place."""
    return place == _wanted


def reach(place: Place) -> None:
    """Die here, or stand still, if the environment says so."""
    if not expects(place):
        return
    _reached[place] += 1
    if _reached[place] == _number:
        if _blocked_seconds:
            time.sleep(_blocked_seconds)
        else:
            os.kill(os.getpid(), signal.SIGKILL)
