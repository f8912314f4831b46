"""Clients that hang up, read slowly or come all at once make no provider bill more than their hard limit.

Nor do providers that bill and then fail, one after the other, in a chain.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.adversary.behaviours import CASES, Case, Toll, run
from tests.e2e.adversary.plane import LIMIT_NANO_USD, run_plane

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def tolls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Toll]]:
    with run_plane(tmp_path_factory.mktemp("behaviours"), poor=len(CASES)) as plane:
        yield run(plane, CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_no_provider_bills_more_than_the_limit_for_a_client_that(tolls: dict[str, Toll], case: Case) -> None:
    toll = tolls[case.title]
    # A call that is refused before it reaches a provider proves nothing.
    assert case.behaviour.reaches in {toll.reached, None}
    assert toll.billed_nano_usd <= LIMIT_NANO_USD
