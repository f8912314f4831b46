from __future__ import annotations

import pytest

from services.kernel.clock import ManualClock
from services.router.domain.attempt import Attempt, Outcome
from services.router.usecases.credential_refusals import CredentialRefusal, CredentialRefusals


def attempt(status: int, outcome: Outcome = Outcome.FAILED, target: str = "lab/tiny") -> Attempt:
    return Attempt(target, 0, 10, 5, outcome, status=status)


def test_refusals_of_a_provider_are_counted_until_it_serves_a_call() -> None:
    clock = ManualClock()
    refusals = CredentialRefusals(clock)
    first_ms = clock.now_ms()
    refusals.observe(attempt(401))
    clock.advance(1_000)
    refusals.observe(attempt(403, target="lab/large"))
    assert refusals.of("lab") == CredentialRefusal(403, 2, first_ms, first_ms + 1_000)
    assert refusals.of("laboratory") is None
    refusals.observe(attempt(200, Outcome.SERVED, "lab/large"))
    assert refusals.of("lab") is None


@pytest.mark.parametrize("status", [0, 400, 404, 429, 500])
def test_no_other_failure_speaks_of_the_credential(status: int) -> None:
    refusals = CredentialRefusals(ManualClock())
    refusals.observe(attempt(status))
    assert refusals.of("lab") is None
    refusals.observe(attempt(401))
    refusals.observe(attempt(status))
    assert refusals.of("lab") is not None


def test_providers_beyond_the_bound_are_not_noted() -> None:
    refusals = CredentialRefusals(ManualClock())
    for number in range(1_030):
        refusals.observe(attempt(401, target=f"p{number}/m"))
    assert refusals.of("p1023") is not None
    assert refusals.of("p1029") is None
