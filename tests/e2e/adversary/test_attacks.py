"""Bodies, headers and paths by which a key's holder tries to make a provider bill more than its hard limit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.adversary import attacks_anthropic, attacks_gemini, attacks_on_the_wire, attacks_openai
from tests.e2e.adversary.plane import LIMIT_NANO_USD, Outcome, run_plane

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ATTACKS = (
    *attacks_openai.ATTACKS,
    *attacks_anthropic.ATTACKS,
    *attacks_gemini.ATTACKS,
    *attacks_on_the_wire.ATTACKS,
)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[Outcome]]]:
    with run_plane(tmp_path_factory.mktemp("attacks"), poor=len(ATTACKS)) as plane:
        yield plane.run(ATTACKS)


@pytest.mark.parametrize("title", [attack.title for attack in ATTACKS])
def test_no_provider_bills_more_than_the_limit(outcomes: dict[str, list[Outcome]], title: str) -> None:
    over = [str(outcome) for outcome in outcomes[title] if outcome.billed_nano_usd > LIMIT_NANO_USD]
    assert not over
