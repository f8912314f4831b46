from __future__ import annotations

import pytest

from tests.worlds.window_edge import CLEAR_FOR_S, seconds_to_the_next_window

MIDNIGHT_S = 1_795_737_600


@pytest.mark.parametrize(
    ("now_s", "wait_s"),
    [
        (MIDNIGHT_S, 0),
        (MIDNIGHT_S - 1, 1),
        (MIDNIGHT_S - CLEAR_FOR_S, 0),
        (MIDNIGHT_S - CLEAR_FOR_S + 1, CLEAR_FOR_S - 1),
        (MIDNIGHT_S + 3_599, 1),
        (MIDNIGHT_S + 900, 0),
        # Midnight in Kolkata.
        (MIDNIGHT_S + 66_600 - 2, 2),
    ],
)
def test_a_test_waits_for_the_next_window_when_the_one_it_is_in_is_about_to_end(now_s: int, wait_s: int) -> None:
    assert seconds_to_the_next_window(now_s) == wait_s
