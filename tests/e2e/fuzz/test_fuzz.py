"""Damaged requests, answers and streams, in each direction, through the whole gateway.

For each call: it ends in time, and its client gets what is its dialect's and nothing else. No credential leaves. A
failure names its cases, each as direction/part/number; a case is the same whenever it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.e2e.fuzz.cases import Case, Direction, Part
from tests.e2e.fuzz.plane import FuzzPlane, run_fuzz_plane
from tests.e2e.fuzz.verdict import verdict
from tests.worlds.gateway import amount

pytestmark = pytest.mark.e2e

FEW, MANY = range(40), range(40, 3_400)
"""Numbers of cases for each part of each direction. All together are more than 10,000 for each direction."""
_AT_A_TIME = 200


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FuzzPlane]:
    with run_fuzz_plane(tmp_path_factory.mktemp("fuzz")) as running:
        yield running


def assert_all_is_well(plane: FuzzPlane, direction: Direction, numbers: range) -> None:
    envoy, served = plane.gateway.pids()["envoy"], set[tuple[Part, int]]()
    for first in numbers[::_AT_A_TIME]:
        several = range(first, min(first + _AT_A_TIME, numbers.stop))
        answers = plane.run([Case(direction, part, number) for part in Part for number in several])
        wrong = [f"{case}: {problem}" for case, answer in answers for problem in verdict(plane, case, answer)]
        assert not wrong + plane.problems
        served |= {(case.part, answer.status) for case, answer in answers}
    # Damage to each part leaves some calls whole and ends others.
    assert {(part, 200) for part in Part} <= served
    assert len(served) > 2 * len(Part)
    assert plane.gateway.pids()["envoy"] == envoy, "Envoy died"
    assert_books_are_closed(plane)


def assert_books_are_closed(plane: FuzzPlane) -> None:
    """Nothing is reserved any more, each call that reached a provider is booked, and what it cost is in the budget."""
    (budget,) = plane.gateway.settle()
    total = plane.gateway.usage()["total"]
    assert int(total["calls"]) >= plane.reached()
    assert int(total["unpriced_calls"]) == 0
    assert amount(budget, "settled") == Decimal(total["cost_usd"])


@pytest.mark.parametrize("direction", Direction)
def test_whatever_is_damaged_a_client_gets_its_own_dialect_and_no_credential(
    plane: FuzzPlane, direction: Direction
) -> None:
    assert_all_is_well(plane, direction, FEW)


@pytest.mark.full
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("direction", Direction)
def test_ten_thousand_damages_in_each_direction(plane: FuzzPlane, direction: Direction) -> None:
    assert_all_is_well(plane, direction, MANY)
