"""How much of a month's budget doubt takes if 3 % of all calls are aborted.

The figures are those of ADR 0018. They depend less on the share of aborted calls than on how far a call's bound lies
above its use: an aborted call leaves in doubt the most that a provider may bill if it goes on after the client left.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.kernel.dialect import Dialect
from tests.property.honest_month import Habits, live_through

ABORTED_PERCENT = 3
DIALECTS = st.sampled_from(Dialect)
FEW = settings(max_examples=20, deadline=None)


@st.composite
def any_habits(draw: st.DrawFn) -> Habits:
    answer_tokens = draw(st.integers(50, 1_000))
    return Habits(
        draw(DIALECTS),
        draw(st.integers(400, 50_000)),
        answer_tokens,
        answer_tokens * draw(st.integers(1, 8)),
        draw(st.integers(0, 60)),
        calls=200,
    )


@FEW
@given(habits=any_habits(), seed=st.integers(0, 1_000))
def test_no_month_is_billed_more_than_is_settled_and_in_doubt(habits: Habits, seed: int) -> None:
    books = live_through(habits, seed)

    assert books.settled + books.doubt >= books.billed_at_most


@FEW
@given(dialect=DIALECTS, prompt_bytes=st.integers(400, 50_000), seed=st.integers(0, 1_000))
def test_what_is_settled_of_a_month_is_within_a_hundredth_of_its_bill(
    dialect: Dialect, prompt_bytes: int, seed: int
) -> None:
    books = live_through(Habits(dialect, prompt_bytes, 300, 1_024, ABORTED_PERCENT, calls=500), seed)

    assert abs(books.settled - books.billed) * 100 <= books.billed


@pytest.mark.parametrize("dialect", [Dialect.ANTHROPIC, Dialect.GEMINI])
def test_long_prompts_that_the_provider_counts_at_once_lose_less_than_a_hundredth(dialect: Dialect) -> None:
    books = live_through(Habits(dialect, 100_000, 300, 1_024, ABORTED_PERCENT), seed=1)

    assert books.doubt * 100 < books.settled


@pytest.mark.parametrize(
    ("dialect", "max_tokens", "percent"),
    [
        (Dialect.OPENAI, 1_024, 9),
        (Dialect.OPENAI, 4_096, 22),
        (Dialect.ANTHROPIC, 1_024, 4),
        (Dialect.ANTHROPIC, 4_096, 17),
        (Dialect.GEMINI, 1_024, 4),
        (Dialect.GEMINI, 4_096, 17),
    ],
)
def test_a_month_of_chats_loses_what_its_answers_are_bounded_above_their_use(
    dialect: Dialect, max_tokens: int, percent: int
) -> None:
    books = live_through(Habits(dialect, 4_000, 300, max_tokens, ABORTED_PERCENT), seed=1)

    assert (percent - 1) * books.settled < books.doubt * 100 < percent * books.settled
