"""The same behaviours before providers that are declared to stop when their client hangs up, and do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.adversary.behaviours import CASES, Case, Toll, run
from tests.e2e.adversary.plane import LIMIT_NANO_USD, run_plane

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

STOPPING = [case for case in CASES if not case.goes_on]


@pytest.fixture(scope="module")
def tolls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Toll]]:
    with run_plane(tmp_path_factory.mktemp("declared"), poor=len(CASES), stops_on_disconnect=True) as plane:
        yield run(plane, STOPPING)


@pytest.mark.parametrize("case", STOPPING, ids=lambda case: case.title)
def test_a_declared_fact_that_is_true_lets_no_provider_bill_more_than_the_limit_for_a_client_that(
    tolls: dict[str, Toll], case: Case
) -> None:
    toll = tolls[case.title]

    assert case.behaviour.reaches in {toll.reached, None}
    assert toll.billed_nano_usd <= LIMIT_NANO_USD
