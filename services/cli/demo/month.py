"""The traffic of the month. It is the same every time."""

from __future__ import annotations

import random
from dataclasses import dataclass

DAYS = 30
OUTAGE_DAY = 6
"""On this day, Anthropic answers every call with an error."""
PROD, DEV = "prod", "dev"

_WEEKDAY_CALLS, _WEEKEND_CALLS, _DEV_CALLS = 12, 4, 2
_SHORTEST_ANSWER, _LONGEST_ANSWER = 400, 1_000
_REGIONS = ("North", "South", "Coast", "Highlands", "Islands", "Capital")
_QUESTIONS = (
    "Forecast next week's demand for each region from these sales, and name the two regions to watch.",
    "Which of these regions deviate from the season's pattern, and what would explain it?",
    "Write the summary of these figures for Monday's planning meeting, with the risks first.",
)


@dataclass(frozen=True, slots=True)
class Task:
    """One call that an application makes."""

    environment: str
    model: str
    prompt: str
    max_tokens: int
    stream: bool


def tasks_of(day: int) -> tuple[Task, ...]:
    """Returns the applications' calls on a day of the month, 1 to `DAYS`."""
    draw = random.Random(day)  # noqa: S311  (a script, not a secret)
    is_weekend = day % 7 in {6, 0}
    prod = [_prod_task(draw, number) for number in range(_WEEKEND_CALLS if is_weekend else _WEEKDAY_CALLS)]
    dev = [] if is_weekend else [_dev_task(draw) for _ in range(_DEV_CALLS)]
    return (*prod, *dev)


def _prod_task(draw: random.Random, number: int) -> Task:
    length = draw.randint(_SHORTEST_ANSWER, _LONGEST_ANSWER)
    sales = "; ".join(f"{region}: {draw.randint(800, 9_900)} units, {draw.randint(-9, 9)} %" for region in _REGIONS)
    prompt = f"{draw.choice(_QUESTIONS)} Sales of the week: {sales}. Answer in {length} tokens."
    # The application allows more than it usually needs, as applications do.
    return Task(PROD, "claude-sonnet-4", prompt, max_tokens=1_200, stream=number % 3 == 0)


def _dev_task(draw: random.Random) -> Task:
    prompt = f"{draw.choice(_QUESTIONS)} Use made-up figures. Answer in {draw.randint(200, 500)} tokens."
    return Task(DEV, "gpt-4o", prompt, max_tokens=600, stream=False)
