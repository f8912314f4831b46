"""Honest calls that look like attacks: whoever refuses everything keeps every limit, and fails here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.adversary import attacks_anthropic, attacks_gemini, attacks_on_the_wire, attacks_openai
from tests.e2e.adversary.plane import Outcome, run_plane

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

# Within a limit of $2.00, as they cost cents.
SMALL = (*attacks_openai.HONEST, *attacks_anthropic.HONEST, *attacks_gemini.HONEST, *attacks_on_the_wire.HONEST)
# Within a limit of $1,000, as they may cost a whole context window.
LARGE = (*attacks_openai.LARGE, *attacks_anthropic.LARGE, *attacks_gemini.LARGE)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[Outcome]]]:
    with run_plane(tmp_path_factory.mktemp("honest"), poor=len(SMALL), rich=len(LARGE)) as plane:
        yield plane.run((*SMALL, *LARGE), rounds=1)


@pytest.mark.parametrize("title", [call.title for call in (*SMALL, *LARGE)])
def test_an_honest_call_is_served(outcomes: dict[str, list[Outcome]], title: str) -> None:
    refused = [str(outcome) for outcome in outcomes[title] if outcome.statuses != (200,)]
    assert not refused
