"""A month of honest calls, of which 3 % are left, over the real admission, booking, settlement and counter store.

It loses less than a hundredth to doubt where the provider counts along and is declared to stop, and where the policy
says that estimates are all that counts. What it loses otherwise is pinned here, and told in ADR 0018.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from services.kernel.dialect import Dialect
from tests.worlds.lived_month import Month, live_through

LOST_BASIS_POINTS = {
    (Dialect.OPENAI, False): 1_690,
    (Dialect.OPENAI, True): 1_690,
    (Dialect.ANTHROPIC, False): 856,
    (Dialect.ANTHROPIC, True): 264,
    (Dialect.GEMINI, False): 802,
    (Dialect.GEMINI, True): 18,
}
"""In doubt at the end of the month, of what is settled; by whether the provider is declared to stop."""


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[Dialect, bool], Month]:
    return {
        (dialect, stops): live_through(tmp_path_factory.mktemp(f"{dialect}-{stops}"), dialect, stops=stops)
        for dialect, stops in LOST_BASIS_POINTS
    }


def test_a_month_before_a_provider_that_counts_along_and_is_declared_to_stop_loses_less_than_a_hundredth(
    months: dict[tuple[Dialect, bool], Month],
) -> None:
    month = months[Dialect.GEMINI, True]

    assert 0 < month.doubt * 100 < month.settled


@pytest.mark.parametrize("seed", range(2, 5))
def test_it_does_so_whichever_calls_are_left(tmp_path: Path, seed: int) -> None:
    month = live_through(tmp_path, Dialect.GEMINI, stops=True, calls=700, seed=seed)

    assert 0 < month.doubt * 100 < month.settled


@pytest.mark.parametrize("dialect", Dialect)
def test_a_policy_that_counts_the_estimate_alone_loses_nothing_and_settles_what_was_billed(
    months: dict[tuple[Dialect, bool], Month], dialect: Dialect
) -> None:
    month = months[dialect, False]

    assert month.trusting_doubt == 0
    assert abs(month.trusting_settled - month.billed) * 100 < month.billed


@pytest.mark.parametrize("dialect", Dialect)
def test_by_default_what_is_settled_and_in_doubt_covers_a_provider_that_goes_on(
    months: dict[tuple[Dialect, bool], Month], dialect: Dialect
) -> None:
    month = months[dialect, False]

    assert month.billed < month.billed_at_most <= month.settled + month.doubt


@pytest.mark.parametrize("dialect", Dialect)
def test_a_declared_fact_covers_what_a_provider_bills_that_stops(
    months: dict[tuple[Dialect, bool], Month], dialect: Dialect
) -> None:
    month = months[dialect, True]

    assert month.billed <= month.settled + month.doubt


def test_what_is_in_doubt_of_the_other_months_is_known(months: dict[tuple[Dialect, bool], Month]) -> None:
    assert {asked: month.lost_basis_points for asked, month in months.items()} == LOST_BASIS_POINTS


def test_no_doubt_outlives_its_month(months: dict[tuple[Dialect, bool], Month]) -> None:
    assert all(month.doubt and not month.doubt_in_march for month in months.values())
