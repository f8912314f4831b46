"""Clients that hang up, read slowly or come all at once make no provider bill more than their hard limit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.adversary.behaviours import CASES, run
from tests.e2e.adversary.plane import LIMIT_NANO_USD, run_plane

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def billed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    with run_plane(tmp_path_factory.mktemp("behaviours"), poor=len(CASES)) as plane:
        yield run(plane, CASES)


@pytest.mark.parametrize("title", [case.title for case in CASES])
def test_no_provider_bills_more_than_the_limit_for_a_client_that(billed: dict[str, int], title: str) -> None:
    assert billed[title] <= LIMIT_NANO_USD
