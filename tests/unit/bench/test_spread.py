from __future__ import annotations

from tests.bench.spread import Spread, differences, ratios


def test_a_figure_shows_its_median_and_how_far_its_rounds_lie_apart() -> None:
    assert Spread.of([9.0, 7.0, 30.0]).text(1, "x") == "9.0x (7.0 to 30.0)"


def test_a_single_round_claims_no_spread() -> None:
    assert Spread.of([9.0]).text(1, "x") == "9.0x"


def test_what_was_not_measured_is_no_zero() -> None:
    assert Spread.of([]).text(1, "x") == "-"


def test_a_ratio_is_taken_within_its_round_so_that_a_slow_round_does_not_move_it() -> None:
    slow_second_round = ratios([20.0, 200.0, 22.0], [10.0, 100.0, 11.0])

    assert Spread.of(slow_second_round).text(2) == "2.00 (2.00 to 2.00)"


def test_a_round_without_a_base_has_no_ratio() -> None:
    assert ratios([1.0, 4.0], [0.0, 2.0]) == [2.0]


def test_a_difference_is_taken_within_its_round() -> None:
    assert differences([5.0, 50.0], [4.0, 49.0]) == [1.0, 1.0]
