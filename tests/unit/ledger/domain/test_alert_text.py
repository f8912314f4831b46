"""What people read about an alert."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from services.kernel.envoy_contract import LeadReason
from services.kernel.settlement import CrossingKind
from services.ledger.domain.alert_text import words_of
from services.ledger.domain.lead_switch import Direction, LeadSwitch, SwitchAlert
from services.ledger.domain.settlement import Alert, Crossing

DOLLAR = 1_000_000_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def at(day: int, hour: int = 0) -> int:
    return int(datetime(2026, 11, day, hour, tzinfo=UTC).timestamp() * 1000)


CROSSING = Crossing(
    sequence=1,
    policy="data-science-prod",
    limit="spend per month",
    scope="team=data-science,environment=prod",
    window_start_ms=at(1),
    basis_points=8_000,
    notify=("finance",),
    crossed_ms=at(21),
    settled=1_604_129_000_000,
    bound=2_000 * DOLLAR,
)


SAID = "$1,604.12 of $2,000.00 are used (80.2%) since 2026-11-01 00:00 UTC: spend per month of policy data-science-prod"


def test_a_threshold_says_who_how_much_since_when_at_what_pace_and_until_when() -> None:
    words = words_of(Alert(CROSSING, None))
    assert words.title == "data-science-prod: 80% of spend per month used"
    assert words.text.splitlines() == [
        f"{SAID}, team=data-science,environment=prod.",
        "At this pace, $80.20 a day, the rest lasts until 2026-11-25 22:27 UTC, unless the window ends before.",
        "See what is left: spendgate budgets --policy data-science-prod",
    ]


def test_programs_get_dollars_with_every_digit() -> None:
    words = words_of(Alert(CROSSING, None, key="ds-prod", team="data-science"))
    assert words.kind == "budget.threshold"
    assert (words.data["settled"], words.data["bound"], words.data["unit"]) == (
        "1604.129000000",
        "2000.000000000",
        "usd",
    )
    assert (words.data["threshold"], words.data["key"]) == ("80%", "ds-prod")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"crossed_ms": at(1, 4), "settled": 40 * DOLLAR, "bound": 50 * DOLLAR},
            "$10.00 an hour, the rest lasts until",
        ),
        # Less than a cent an hour.
        ({"crossed_ms": at(1, 10), "settled": 40_000_000, "bound": 50_000_000}, "$0.09 a day, the rest lasts until"),
        ({"limit": "requests per day", "crossed_ms": at(1, 7), "settled": 6, "bound": 10}, "20 requests a day"),
        (
            {"limit": "input_tokens per hour", "crossed_ms": at(1) + HOUR_MS // 2, "settled": 80, "bound": 100},
            "160 input tokens an hour",
        ),
        ({"crossed_ms": at(30), "settled": 1, "bound": 2_000 * DOLLAR}, "for more than a year"),
    ],
)
def test_the_pace_is_said_in_figures_that_mean_something(changes: dict[str, Any], said: str) -> None:
    assert said in words_of(Alert(replace(CROSSING, **changes), None)).text


@pytest.mark.parametrize(
    "changes",
    [
        {"limit": "spend in 60 minutes"},
        {"limit": "spend per run"},
        {"crossed_ms": at(1) + 5_000},
        {"settled": 2_500 * DOLLAR},
        {"settled": 0, "bound": 0},
    ],
)
def test_there_is_no_pace_where_it_would_mislead(changes: dict[str, Any]) -> None:
    assert "pace" not in words_of(Alert(replace(CROSSING, **changes), None)).text


def test_an_amount_below_a_cent_is_said_in_full() -> None:
    words = words_of(Alert(replace(CROSSING, settled=8_000_000, bound=10_000_000), None))
    assert "$0.008000000 of $0.01 are used (80%)" in words.text


def test_an_overrun_names_the_excess_and_the_call() -> None:
    crossing = replace(CROSSING, kind=CrossingKind.OVERRUN, basis_points=0, excess=12 * DOLLAR, call="c-1")
    words = words_of(Alert(crossing, None, target="lab/big"))
    assert words.title == "data-science-prod: lab/big billed $12.00 more than allowed"
    assert words.text.endswith("Look at the call: spendgate calls show c-1")
    assert words.data["excess"] == "12.000000000"


def test_calls_that_nobody_could_bound_name_their_remedy() -> None:
    unpriced = words_of(Alert(replace(CROSSING, kind=CrossingKind.UNPRICED), None, target="lab/new", key="k"))
    assert unpriced.title == "data-science-prod: a call to lab/new went out without a known price"
    assert "Give it a price under `prices:`." in unpriced.text
    alert = Alert(replace(CROSSING, kind=CrossingKind.UNKNOWN_MEMBERS), None, unknown_members=("x", "y"))
    unknown = words_of(alert)
    assert "does not know (x, y)" in unknown.text
    assert "`unknown_members: refuse` on data-science-prod stops such calls." in unknown.text


def test_a_switch_says_who_leads_and_why_and_who_leads_again() -> None:
    left = LeadSwitch(
        "s", at(2), "m", 7_500, Direction.LEFT, LeadReason.LATENCY, ("a/x", "b/x"), ("c/y",), "p95 of 12 s"
    )
    words = words_of(SwitchAlert(1, left, (), None))
    assert words.title == "m: c/y leads instead of a/x | b/x"
    assert "from 75% of the budget on instead of a/x | b/x: p95 of 12 s." in words.text
    back = words_of(SwitchAlert(2, replace(left, direction=Direction.RETURNED), (), None))
    assert back.title == "m: c/y leads again"
    drained = words_of(SwitchAlert(3, replace(left, reason=LeadReason.DRAINED, evidence=""), (), None))
    assert "an operator took it out" in drained.text


@pytest.mark.parametrize("kind", CrossingKind)
def test_every_kind_of_event_has_words(kind: CrossingKind) -> None:
    words = words_of(Alert(replace(CROSSING, kind=kind), None))
    assert words.title
    assert words.text
    assert "." in words.kind
