"""Shows who leads each model, since when and why, and how the targets fare."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.duration_pb2 import Duration
from spendgate.router.v1 import route_plan_service_pb2 as plan
from spendgate.router.v1 import router_service_pb2 as router
from spendgate.router.v1.chain_pb2 import ChainSlot

from services.chassis.enums import enum_names
from services.cli.printing import print_table, print_text
from services.cli.times import optional_rfc3339, readable_time

_REASONS = enum_names(plan.LeadReason)
_DIRECTIONS = enum_names(router.RouteSwitch.Direction)


def slots(chain: Iterable[ChainSlot]) -> list[list[dict[str, object]]]:
    """Slots as a document."""
    return [[{"target": one.target, "weight": one.weight or 1} for one in slot.targets] for slot in chain]


def chain_text(chain: Iterable[ChainSlot]) -> str:
    """Slots in words."""
    return ", ".join(" | ".join(one.target for one in slot.targets) for slot in chain)


def condition_text(condition: router.Condition) -> str:
    """A condition in words."""
    terms = (" and " if condition.all else " or ").join(term_text(term) for term in condition.terms)
    if not condition.team:
        return terms
    return f"{terms}, for team {condition.team}" if terms else f"always for team {condition.team}"


def term_text(term: router.Condition.Term) -> str:
    """A term of a condition in words."""
    over = f" over {term.period.seconds} s"
    kind = term.WhichOneof("term")
    if kind == "budget_used_basis_points":
        return f"budget used >= {term.budget_used_basis_points / 100:g}%"
    if kind == "error_rate_basis_points":
        return f"error rate >= {term.error_rate_basis_points / 100:g}%{over}"
    if kind == "latency_p95":
        return f"latency p95 >= {term.latency_p95.ToMilliseconds()} ms{over}"
    return f"time to first byte p95 >= {term.ttft_p95.ToMilliseconds()} ms{over}"


def tier_document(tier: router.RouteStatus.Tier) -> dict[str, object]:
    """A tier as a document."""
    return {
        "from_percent": tier.from_basis_points / 100,
        "chain": slots(tier.chain),
        "reason": _REASONS.get(tier.reason) or None,
        "leads_since": optional_rfc3339(tier, "lead_time"),
        "figures": [_figure(figure) for figure in tier.figures],
        "probed": slots(tier.probed_slots),
    }


def target_document(target: router.RouteStatus.Target) -> dict[str, object]:
    """A target as a document."""
    return {
        "target": target.target,
        "attempts": target.attempts,
        "failed_attempts": target.failed_attempts,
        "latency_p95_ms": _milliseconds(target, "latency_p95"),
        "ttft_p95_ms": _milliseconds(target, "ttft_p95"),
        "out_until": optional_rfc3339(target, "out_until_time"),
        "drained_since": optional_rfc3339(target, "drain_time"),
    }


def switch_document(switch: router.RouteSwitch) -> dict[str, object]:
    """A switch as a document."""
    return {
        "model": switch.model,
        "from_percent": switch.from_basis_points / 100,
        "direction": _DIRECTIONS.get(switch.direction) or None,
        "previous": slots([switch.previous_slot])[0],
        "leads": slots([switch.slot])[0],
        "reason": _REASONS.get(switch.reason) or None,
        "figures": [_figure(figure) for figure in switch.figures],
        "switched_at": optional_rfc3339(switch, "switch_time"),
    }


def print_route_status(status: router.RouteStatus) -> None:
    """Prints who leads if another does than the model's first, and the targets that had attempts or take none."""
    led = [(model.model, tier) for model in status.models for tier in model.tiers if tier.HasField("lead_time")]
    if led:
        print_text("")
        rows = [
            (
                name,
                f"{tier.from_basis_points / 100:g}%",
                chain_text(tier.chain[:1]),
                readable_time(tier.lead_time),
                "; ".join(_why(tier, figure) for figure in tier.figures),
            )
            for name, tier in led
        ]
        print_table(("MODEL", "BUDGET FROM", "LEADS NOW", "SINCE", "BECAUSE"), rows)
    known = [
        target
        for target in status.targets
        if target.attempts or target.HasField("out_until_time") or target.HasField("drain_time")
    ]
    if known:
        print_text("")
        print_table(
            ("TARGET", "ATTEMPTS IN 5 MIN", "FAILED", "LATENCY P95", "FIRST BYTE P95", "STATE"),
            [
                (
                    target.target,
                    str(target.attempts),
                    f"{100 * target.failed_attempts / target.attempts:.1f}%" if target.attempts else "-",
                    _time(target, "latency_p95"),
                    _time(target, "ttft_p95"),
                    _state(target),
                )
                for target in known
            ],
        )


def _state(target: router.RouteStatus.Target) -> str:
    if target.HasField("drain_time"):
        return f"drained since {readable_time(target.drain_time)}"
    until = readable_time(target.out_until_time)
    return f"out until {until}, as its provider asked" if until else "takes calls"


def _why(tier: router.RouteStatus.Tier, figure: router.TermFigure) -> str:
    left = chain_text(tier.probed_slots[-1:])
    return f"{left} had {figure.bad_attempts} bad attempts of {figure.attempts} ({term_text(figure.term)})"


def _figure(figure: router.TermFigure) -> dict[str, object]:
    return {"term": term_text(figure.term), "attempts": figure.attempts, "bad_attempts": figure.bad_attempts}


def _milliseconds(target: router.RouteStatus.Target, name: str) -> int | None:
    span: Duration = getattr(target, name)
    return span.ToMilliseconds() if target.HasField(name) else None  # type: ignore[arg-type]


def _time(target: router.RouteStatus.Target, name: str) -> str:
    milliseconds = _milliseconds(target, name)
    return "-" if milliseconds is None else f"{milliseconds} ms"
