"""What people read about an alert: a title of one line, a text, and the same as data for webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.kernel.clock import format_time
from services.kernel.envoy_contract import LeadReason
from services.kernel.limit_kind import LimitKind
from services.kernel.money import NANO_PER_USD, format_usd
from services.kernel.settlement import CrossingKind, format_percent
from services.ledger.domain.lead_switch import Direction, LeadSwitch, SwitchAlert
from services.ledger.domain.settlement import Alert, Crossing

_NANO_PER_CENT = NANO_PER_USD // 100
_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
# A pace from a moment is none.
_LEAST_PACE_MS = 60_000
_FARTHEST_MS = 366 * _DAY_MS
_WHY_LEFT = {
    LeadReason.BUDGET: "a part of the budget is used",
    LeadReason.ERRORS: "attempts at it fail",
    LeadReason.LATENCY: "attempts at it take too long",
    LeadReason.RETRY_AFTER: "its provider asked to stay away for a while",
    LeadReason.DRAINED: "an operator took it out",
}


@dataclass(frozen=True, slots=True)
class Words:
    """An alert in words."""

    title: str
    text: str
    """Lines without markup."""
    kind: str
    """For programs, e.g. "budget.threshold"."""
    data: Mapping[str, Any]
    """The facts, for programs."""


def words_of(alert: Alert | SwitchAlert) -> Words:
    """Says who, how much of what, since when, at what pace, until when that lasts, and how to look closer."""
    if isinstance(alert, SwitchAlert):
        return _of_switch(alert.switch)
    match alert.crossing.kind:
        case CrossingKind.THRESHOLD:
            return _of_threshold(alert)
        case CrossingKind.OVERRUN:
            return _of_overrun(alert)
        case CrossingKind.UNPRICED:
            return _of_call(
                alert, "call.unpriced", "went out without a known price", "Give it a price under `prices:`."
            )
        case CrossingKind.UNKNOWN_MEMBERS:
            members = ", ".join(alert.unknown_members)
            return _of_call(
                alert,
                "call.unknown_members",
                f"had members that the gateway does not know ({members}), and held its model's context window",
                f"`unknown_members: refuse` on {alert.crossing.policy} stops such calls.",
            )


def _of_threshold(alert: Alert) -> Words:
    crossing = alert.crossing
    threshold = _percent(crossing.basis_points)
    # Rounded down, so that nobody reads 100% before it is reached.
    used = _percent(crossing.settled * 10_000 // crossing.bound) if crossing.bound else "100%"
    said = (
        f"{_amount(crossing, crossing.settled)} of {_amount(crossing, crossing.bound)} are used ({used})"
        f" since {_moment(crossing.window_start_ms)}: {crossing.limit} of policy {crossing.policy},"
        f" {crossing.scope or 'everybody'}."
    )
    lines = [said, *_pace(crossing), f"See what is left: spendgate budgets --policy {crossing.policy}"]
    return Words(
        f"{crossing.policy}: {threshold} of {crossing.limit} used",
        "\n".join(lines),
        "budget.threshold",
        {**_facts(crossing), "threshold": threshold, **_cause(alert)},
    )


def _of_overrun(alert: Alert) -> Words:
    crossing = alert.crossing
    excess = _amount(crossing, crossing.excess)
    text = (
        f"A provider billed {excess} more for a call than the request allowed. The call is booked in full, so"
        f" {crossing.limit} of policy {crossing.policy} ({crossing.scope or 'everybody'}) may be over its bound of"
        f" {_amount(crossing, crossing.bound)}.\n{_look_at(crossing)}"
    )
    return Words(
        f"{crossing.policy}: {alert.target or 'a provider'} billed {excess} more than allowed",
        text,
        "budget.overrun",
        {**_facts(crossing), "excess": _number(crossing, crossing.excess), **_cause(alert)},
    )


def _of_call(alert: Alert, kind: str, what: str, remedy: str) -> Words:
    crossing = alert.crossing
    text = (
        f"A call of key {alert.key or 'unknown'} to {alert.target or 'an unknown target'} {what}, although"
        f" {crossing.limit} of policy {crossing.policy} bounds what it may spend. {remedy}\n{_look_at(crossing)}"
    )
    title = f"{crossing.policy}: a call to {alert.target or 'an unknown target'} {what.partition(' (')[0]}"
    return Words(title, text, kind, {**_facts(crossing), **_cause(alert)})


def _of_switch(switch: LeadSwitch) -> Words:
    leads, before = " | ".join(switch.targets), " | ".join(switch.previous_targets)
    tier = f" from {_percent(switch.from_basis_points)} of the budget on" if switch.from_basis_points else ""
    if switch.direction is Direction.RETURNED:
        title = f"{switch.model}: {leads} leads again"
        text = f"Since {_moment(switch.time_ms)}, {leads} leads {switch.model}{tier} again, after {before}."
    else:
        why = switch.evidence or _WHY_LEFT.get(switch.reason, switch.reason)
        title = f"{switch.model}: {leads} leads instead of {before}"
        text = f"Since {_moment(switch.time_ms)}, {leads} leads {switch.model}{tier} instead of {before}: {why}."
    data = {
        "model": switch.model,
        "from": _percent(switch.from_basis_points),
        "direction": switch.direction,
        "reason": switch.reason,
        "previous": list(switch.previous_targets),
        "leads": list(switch.targets),
        "evidence": switch.evidence,
        "switched_at": format_time(switch.time_ms),
    }
    return Words(title, f"{text}\nSee who leads now: spendgate routes", "model.switched", data)


def _pace(crossing: Crossing) -> list[str]:
    """Until when the rest lasts if it is used as fast as until now. Nothing of a window that rolls, or just began."""
    passed_ms = crossing.crossed_ms - crossing.window_start_ms
    left = crossing.bound - crossing.settled
    is_calendar = " per " in crossing.limit and not crossing.limit.endswith(" per run")
    if not is_calendar or passed_ms < _LEAST_PACE_MS or crossing.settled <= 0 or left <= 0:
        return []
    hourly = crossing.settled * _HOUR_MS // passed_ms
    is_slow = hourly < (_NANO_PER_CENT if _is_money(crossing) else 1)
    pace = f"At this pace, {_amount(crossing, hourly)} an hour,"
    if is_slow or passed_ms >= _DAY_MS:
        pace = f"At this pace, {_amount(crossing, crossing.settled * _DAY_MS // passed_ms)} a day,"
    lasts_ms = left * passed_ms // crossing.settled
    if lasts_ms > _FARTHEST_MS:
        return [f"{pace} the rest lasts for more than a year."]
    return [f"{pace} the rest lasts until {_moment(crossing.crossed_ms + lasts_ms)}, unless the window ends before."]


def _look_at(crossing: Crossing) -> str:
    return f"Look at the call: spendgate calls show {crossing.call}" if crossing.call else "No single call caused it."


def _facts(crossing: Crossing) -> dict[str, Any]:
    return {
        "policy": crossing.policy,
        "limit": crossing.limit,
        "scope": crossing.scope,
        "window_start": format_time(crossing.window_start_ms),
        "crossed_at": format_time(crossing.crossed_ms),
        "unit": "usd" if _is_money(crossing) else crossing.limit.partition(" ")[0],
        "settled": _number(crossing, crossing.settled),
        "bound": _number(crossing, crossing.bound),
    }


def _cause(alert: Alert) -> dict[str, Any]:
    return {
        "call": alert.crossing.call,
        "target": alert.target,
        "key": alert.key,
        "team": alert.team,
        "run": alert.run,
        "trace_id": alert.trace_id,
        "unknown_members": list(alert.unknown_members),
    }


def _is_money(crossing: Crossing) -> bool:
    return crossing.limit.partition(" ")[0] == LimitKind.SPEND


def _number(crossing: Crossing, amount: int) -> str | int:
    """For programs: dollars as text with all decimals, so that no reader rounds them."""
    return format_usd(amount) if _is_money(crossing) else amount


def _amount(crossing: Crossing, amount: int) -> str:
    """For people: dollars to the cent, rounded down; below a cent, all that there is."""
    if not _is_money(crossing):
        return f"{amount:,} {crossing.limit.partition(' ')[0].replace('_', ' ')}"
    if 0 < amount < _NANO_PER_CENT:
        return f"${format_usd(amount)}"
    cents = amount // _NANO_PER_CENT
    return f"${cents // 100:,}.{cents % 100:02d}"


def _percent(basis_points: int) -> str:
    return f"{format_percent(basis_points)}%"


def _moment(time_ms: int) -> str:
    """To the minute, for people."""
    return f"{format_time(time_ms)[:16].replace('T', ' ')} UTC"
