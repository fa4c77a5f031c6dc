"""Notices when a large share of what comes in is unusable: a sender is broken, and somebody should be told at once."""

import logging
from collections import deque

from service import metrics

log = logging.getLogger(__name__)


class Flood:
    """Looks at the latest messages of all lanes, at least `window_messages` of them, batch by batch."""

    def __init__(self, percent: int, window_messages: int) -> None:
        self._percent = percent
        self._window_messages = window_messages
        self._batches: deque[tuple[int, int]] = deque()
        self.messages = 0
        """In the window."""
        self.unusable = 0
        """How many of them went to the dead letters."""
        self.is_on = False

    def note(self, messages: int, unusable: int) -> None:
        """Count a batch; say so when a flood begins and when it ends."""
        self._batches.append((messages, unusable))
        self.messages += messages
        self.unusable += unusable
        while self.messages - self._batches[0][0] >= self._window_messages:
            gone_messages, gone_unusable = self._batches.popleft()
            self.messages -= gone_messages
            self.unusable -= gone_unusable
        was_on = self.is_on
        full = self.messages >= self._window_messages
        self.is_on = full and self.unusable * 100 > self._percent * self.messages
        metrics.DEAD_LETTER_FLOOD.set(self.is_on)
        if self.is_on != was_on:
            level, event = (
                (logging.ERROR, "flood of dead letters: mend the sender")
                if self.is_on
                else (logging.INFO, "the flood of dead letters is over")
            )
            log.log(level, event, extra={"unusable": self.unusable, "of_messages": self.messages})
