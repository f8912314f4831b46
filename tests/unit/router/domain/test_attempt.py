from __future__ import annotations

import pytest

from services.router.domain.attempt import Outcome, outcome_of


@pytest.mark.parametrize("status", [301, 302, 401, 403, 408, 429, 500, 502, 503, 529])
def test_a_provider_that_does_not_serve_has_failed(status: int) -> None:
    assert outcome_of(status, is_whole=True, has_failed=False) is Outcome.FAILED


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_a_wrong_request_says_nothing_about_the_target(status: int) -> None:
    assert outcome_of(status, is_whole=True, has_failed=False) is Outcome.NEITHER


def test_a_whole_answer_is_served_and_one_that_broke_off_has_failed() -> None:
    assert outcome_of(200, is_whole=True, has_failed=False) is Outcome.SERVED
    assert outcome_of(200, is_whole=False, has_failed=True) is Outcome.FAILED


def test_no_answer_has_failed_unless_the_attempt_was_given_up() -> None:
    assert outcome_of(0, is_whole=False, has_failed=True) is Outcome.FAILED
    # Envoy sets no flag when the client left.
    assert outcome_of(0, is_whole=False, has_failed=False) is Outcome.NEITHER
    assert outcome_of(200, is_whole=False, has_failed=False) is Outcome.NEITHER
