from __future__ import annotations

from dataclasses import replace

import pytest

from services.kernel.clock import format_time
from services.kernel.limit_kind import LimitKind
from services.kernel.money import NANO_PER_USD
from services.kernel.window import WindowRule, WindowUnit
from services.quota.domain.policies.denial import Denial, Deny
from services.quota.transport.dialects.sentences import sentence_of

NOVEMBER_MS, DECEMBER_MS = 1_793_509_200_000, 1_796_101_200_000
SPENT = Deny(
    Denial.BUDGET_EXHAUSTED,
    model="gpt-4o",
    key="ds-prod",
    policy="data-science-prod",
    limit_kind=LimitKind.SPEND,
    limit=2_000 * NANO_PER_USD,
    used=2_000 * NANO_PER_USD,
    window=WindowRule(WindowUnit.MONTH),
    window_start_ms=NOVEMBER_MS,
    resets_at_ms=DECEMBER_MS,
)
MINUTE = replace(
    SPENT,
    denial=Denial.RATE_LIMITED,
    limit_kind=LimitKind.REQUESTS,
    limit=60,
    used=60,
    window=WindowRule(WindowUnit.MINUTE),
    window_start_ms=DECEMBER_MS - 60_000,
    retry_after_ms=1_500,
)


@pytest.mark.parametrize(
    ("deny", "sentence"),
    [
        (
            SPENT,
            (
                "Budget data-science-prod is exhausted: $2,000.000000000 of $2,000 spent this month; "
                "it resets on 2026-12-01T05:00:00Z."
            ),
        ),
        (
            replace(
                SPENT,
                denial=Denial.REQUEST_EXCEEDS_REMAINING_BUDGET,
                used=1_999_950_000_000,
                requested=120_000_000,
            ),
            (
                "This request takes $0.120000000 or more, but budget data-science-prod has $0.050000000 left: "
                "$1,999.950000000 of $2,000 spent this month; it resets on 2026-12-01T05:00:00Z. "
                "Lower max_tokens or shorten the prompt."
            ),
        ),
        (
            replace(
                SPENT,
                denial=Denial.REQUEST_EXCEEDS_REMAINING_BUDGET,
                used=1_999_950_000_000,
                requested=120_000_000,
                max_affordable_output_tokens=1_022,
            ),
            (
                "This request takes $0.120000000 or more, but budget data-science-prod has $0.050000000 left: "
                "$1,999.950000000 of $2,000 spent this month; it resets on 2026-12-01T05:00:00Z. "
                "Set max_tokens to at most 1,022 or shorten the prompt."
            ),
        ),
        (
            replace(SPENT, used=500_000_000_000, doubt=1_500_000_000_000),
            (
                "Budget data-science-prod is exhausted: $500.000000000 of $2,000 spent this month, and "
                "$1,500.000000000 in doubt; it resets on 2026-12-01T05:00:00Z. Calls that were cut off may have "
                "taken more than was counted for them: that amount is in doubt. Let answers finish, and ask your "
                "platform team to look at it with `spendgate doubt list`."
            ),
        ),
        (
            replace(MINUTE, limit_kind=LimitKind.TOKENS, used=20, doubt=40),
            (
                "Rate limit data-science-prod is reached: 20 of 60 tokens used this minute, and 40 in doubt. "
                "Try again in 1.5 s."
            ),
        ),
        (MINUTE, "Rate limit data-science-prod is reached: 60 of 60 requests used this minute. Try again in 1.5 s."),
        (
            replace(SPENT, denial=Denial.RESERVATION_CONTENTION, used=0, reserved=5, retry_after_ms=250),
            (
                "Budget data-science-prod has no room right now: $0.000000000 of $2,000 spent this month, "
                "and calls in flight hold $0.000000005. Try again in 0.25 s."
            ),
        ),
        (
            replace(SPENT, limit_kind=LimitKind.INPUT_TOKENS, limit=40_000_000, used=40_000_001),
            (
                "Budget data-science-prod is exhausted: 40,000,001 of 40,000,000 input tokens used this month; "
                "it resets on 2026-12-01T05:00:00Z."
            ),
        ),
        (
            replace(
                MINUTE,
                limit_kind=LimitKind.CONCURRENCY,
                window=WindowRule(WindowUnit.LIFETIME),
                limit=20,
                used=0,
                reserved=20,
                retry_after_ms=250,
            ),
            "Limit data-science-prod is reached: 20 of 20 calls are in flight. Try again in 0.25 s.",
        ),
        (
            replace(
                SPENT,
                denial=Denial.REQUEST_COST_LIMIT,
                limit_kind=LimitKind.REQUEST_COST,
                limit=NANO_PER_USD // 2,
                requested=NANO_PER_USD,
            ),
            (
                "This request may cost $1.000000000, and data-science-prod lets no request cost more than $0.5. "
                "Lower max_tokens or shorten the prompt."
            ),
        ),
        (
            Deny(Denial.NO_FIT_TARGET, model="tiny", detail="lab/tiny cannot read files"),
            "No target of model tiny can serve this request: lab/tiny cannot read files.",
        ),
        (
            Deny(Denial.UNKNOWN_MEMBER, policy="careful", detail="frobnicate, anthropic-beta=warp-9"),
            (
                "Policy careful refuses what the gateway does not know: frobnicate, anthropic-beta=warp-9. Remove it "
                "from the request, or ask your platform team to let it pass with `unknown_members: hold`."
            ),
        ),
        (
            Deny(Denial.MODEL_NOT_ALLOWED, model="{key}", key="ds-prod"),
            "API key ds-prod may not use model {key}. GET /v1/models lists the models that it may use.",
        ),
    ],
)
def test_a_refusal_says_what_happened_and_what_can_be_done(deny: Deny, sentence: str) -> None:
    assert sentence_of(deny) == sentence


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (WindowRule(WindowUnit.MINUTE), "spent this minute; it resets on 2026-12-01T05:00:00Z."),
        (WindowRule(WindowUnit.DAY), "spent today;"),
        (WindowRule(WindowUnit.QUARTER), "spent this quarter;"),
        (WindowRule(WindowUnit.LIFETIME), "spent in all; it never resets."),
        (WindowRule(WindowUnit.RUN), "spent this run; each run starts from zero."),
        (
            WindowRule(WindowUnit.ROLLING, rolling_ms=36 * 3_600_000),
            "spent in the last 36 hours; room comes back bit by bit, next on 2026-12-01T05:00:00Z.",
        ),
        (WindowRule(WindowUnit.ROLLING, rolling_ms=30 * 86_400_000), "spent in the last 30 days;"),
        (WindowRule(WindowUnit.ROLLING, rolling_ms=90 * 60_000), "spent in the last 90 minutes;"),
        (WindowRule(WindowUnit.ROLLING, rolling_ms=86_400_000), "spent in the last 24 hours;"),
        (WindowRule(WindowUnit.ROLLING, rolling_ms=3_600_000), "spent in the last 60 minutes;"),
    ],
)
def test_a_window_is_called_by_its_name(rule: WindowRule, words: str) -> None:
    assert words in sentence_of(replace(SPENT, window=rule))


@pytest.mark.parametrize("denial", Denial)
def test_every_denial_has_a_whole_sentence(denial: Denial) -> None:
    sentence = sentence_of(replace(SPENT, denial=denial))
    assert sentence[0].isupper()
    assert sentence.endswith(".")
    assert "{" not in sentence


def test_a_time_has_milliseconds_only_where_there_are_some() -> None:
    assert format_time(DECEMBER_MS) == "2026-12-01T05:00:00Z"
    assert format_time(DECEMBER_MS + 7) == "2026-12-01T05:00:00.007Z"
