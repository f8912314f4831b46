"""How calls and attempts ended, by Envoy's records. `tests/e2e/test_outcomes.py` gets these from a real Envoy."""

from __future__ import annotations

from typing import Any

import pytest

from services.ledger.domain.outcome import Outcome
from tests.worlds.spool_lines import NO_USAGE, attempt, call

LEFT = "downstream_remote_disconnect"
BEFORE, AFTER = "upstream_reset_before_response_started{x}", "upstream_reset_after_response_started{x}"


@pytest.mark.parametrize(
    ("changed", "outcome", "began"),
    [
        ({}, Outcome.COMPLETED, True),
        ({"status": 500}, Outcome.REFUSED, True),
        ({"status": 307}, Outcome.REFUSED, True),
        ({"status": 504}, Outcome.TIMEOUT, False),
        ({"status": 520}, Outcome.UNKNOWN, False),
        ({"status": 504, "flags": "DC", "details": LEFT}, Outcome.CLIENT_CANCELLED, True),
        ({"status": 429, "flags": "URX"}, Outcome.REFUSED, True),
        ({"status": 200, "flags": "DC", "details": LEFT}, Outcome.CLIENT_CANCELLED, True),
        ({"status": 500, "flags": "DC", "details": LEFT}, Outcome.CLIENT_CANCELLED, True),
        ({"status": 0, "flags": "DC", "details": LEFT}, Outcome.CLIENT_CANCELLED, False),
        ({"status": 200, "flags": "DPE", "details": "codec_error"}, Outcome.CLIENT_CANCELLED, True),
        ({"status": 200, "flags": "DC", "details": "downstream_local_disconnect(drain)"}, Outcome.UNKNOWN, True),
        ({"status": 0, "details": "no_record"}, Outcome.UNKNOWN, False),
        ({"status": 200, "flags": "UPE", "details": AFTER}, Outcome.PROVIDER_CUT, True),
        ({"status": 500, "flags": "UC", "details": AFTER}, Outcome.PROVIDER_CUT, True),
        ({"status": 503, "flags": "URX,UC", "details": BEFORE}, Outcome.PROVIDER_CUT, False),
        ({"status": 504, "flags": "UT", "details": "upstream_per_try_timeout"}, Outcome.TIMEOUT, False),
        ({"status": 504, "flags": None, "details": "max_duration_timeout"}, Outcome.TIMEOUT, False),
        ({"status": 200, "flags": None, "details": "max_duration_timeout"}, Outcome.TIMEOUT, True),
        ({"status": 504, "flags": "SI", "details": "stream_idle_timeout"}, Outcome.TIMEOUT, False),
        ({"status": 503, "flags": "UF,URX", "details": BEFORE}, Outcome.NEVER_SENT, False),
        ({"status": 503, "flags": "UO", "details": "overflow"}, Outcome.NEVER_SENT, False),
        ({"status": 503, "details": "lua_response"}, Outcome.NEVER_SENT, False),
        ({"status": 503, "attempts": 0}, Outcome.NEVER_SENT, False),
        ({"status": 503, "details": "something_new"}, Outcome.UNKNOWN, False),
    ],
)
def test_how_the_last_attempt_of_a_call_ended(changed: dict[str, Any], outcome: Outcome, *, began: bool) -> None:
    parsed = call(**{**NO_USAGE, **changed})

    assert (parsed.outcome, parsed.began) == (outcome, began)


UNBILLED = (
    *(301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 406, 409, 410, 411, 413, 414, 415, 417, 421, 422, 426),
    *(428, 429, 431, 451, 500, 501, 502, 503, 505, 521, 523, 525, 526, 529),
)
TIMES_UP = (408, 504, 524, 598, 599)
NOBODY_KNOWS = (418, 420, 424, 425, 444, 460, 498, 499, 507, 508, 520, 522, 527, 530, 561, 590)


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [
        ((200, 201, 204, 299), Outcome.COMPLETED),
        (UNBILLED, Outcome.REFUSED),
        (TIMES_UP, Outcome.TIMEOUT),
        (NOBODY_KNOWS, Outcome.UNKNOWN),
    ],
)
def test_the_status_of_a_provider_says_whether_it_may_have_worked(statuses: tuple[int, ...], outcome: Outcome) -> None:
    for status in statuses:
        assert (status, call(**NO_USAGE, status=status).outcome) == (status, outcome)
        assert (status, attempt(status=status).outcome) == (status, outcome)


def test_a_status_that_is_in_no_list_may_be_billed() -> None:
    listed = {*range(200, 400), *UNBILLED}
    billed = [status for status in range(400, 600) if call(**NO_USAGE, status=status).outcome is not Outcome.REFUSED]
    assert billed == [status for status in range(400, 600) if status not in listed]


def test_a_prompt_that_a_filter_stopped_is_billed_although_it_was_refused() -> None:
    refused = call(**NO_USAGE, status=400, usage={"meter": "none", "error": "content_filter"})
    assert (refused.outcome, refused.began) == (Outcome.PROVIDER_CUT, False)


def test_a_client_that_hangs_up_at_the_last_event_did_not_cancel() -> None:
    assert call(flags="DC", details=LEFT).outcome is Outcome.COMPLETED


@pytest.mark.parametrize(
    "usage", [{"meter": "open", "input_tokens": 9}, {"meter": "none", "error": "overloaded_error"}]
)
def test_a_provider_that_ends_a_stream_within_its_answer_cut_it(usage: dict[str, Any]) -> None:
    assert call(**NO_USAGE, usage=usage).outcome is Outcome.PROVIDER_CUT


@pytest.mark.parametrize("left", [{}, {"flags": "DC", "details": LEFT}], ids=["stayed", "left"])
def test_a_provider_that_reports_usage_and_then_an_error_cut_its_answer_and_is_booked_as_it_reported(
    left: dict[str, Any],
) -> None:
    cut = call(**left, usage={"meter": "whole", "input_tokens": 9, "output_tokens": 4, "error": "ended_early"})
    assert cut.outcome is Outcome.PROVIDER_CUT
    assert cut.usage is not None
    assert cut.usage.output_tokens == 4


@pytest.mark.parametrize(
    ("changed", "outcome", "failure"),
    [
        ({}, Outcome.COMPLETED, ""),
        ({"status": 500}, Outcome.REFUSED, ""),
        ({"status": 504}, Outcome.TIMEOUT, ""),
        ({"status": 0, "flags": "UF", "failure": "connection refused"}, Outcome.NEVER_SENT, "refused"),
        ({"status": None, "flags": None, "failure": "TLS error"}, Outcome.NEVER_SENT, "refused"),
        ({"status": 0, "flags": "UT"}, Outcome.TIMEOUT, "timeout"),
        ({"status": 0, "details": "response_timeout"}, Outcome.TIMEOUT, "timeout"),
        ({"status": 0, "flags": "UC", "failure": "TLS alert"}, Outcome.PROVIDER_CUT, "reset"),
        ({"status": 0}, Outcome.PROVIDER_CUT, "reset"),
    ],
)
def test_how_an_attempt_ended(changed: dict[str, Any], outcome: Outcome, failure: str) -> None:
    parsed = attempt(**changed)

    assert (parsed.outcome, parsed.failure_kind) == (outcome, failure)
