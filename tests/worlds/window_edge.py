"""The clock of the system and the windows of limits: the calls of a test must fall into one of them."""

from __future__ import annotations

import time

# Hours, days, weeks and months begin at a half hour of UTC, those of Kolkata included.
EDGE_EVERY_S = 1_800
CLEAR_FOR_S = 45


def seconds_to_the_next_window(now_s: float) -> float:
    """How long to wait for a window that lasts for a test: 0, or at most `CLEAR_FOR_S`."""
    left_s = EDGE_EVERY_S - now_s % EDGE_EVERY_S
    return left_s if left_s < CLEAR_FOR_S else 0.0


def stay_clear_of_the_edge() -> None:
    """Returns when no window of an hour or more ends within the next `CLEAR_FOR_S`."""
    time.sleep(seconds_to_the_next_window(time.time()))
