"""The tracing span of a decision. Its parent is Envoy's span of the Check, and it has no children.

`docs/tracing.md` lists the attribute names. Amounts are decimal strings of US dollars.
"""

from __future__ import annotations

from opentelemetry.trace import Span, SpanKind

from services.chassis.telemetry import Telemetry, in_context, parent_of_traceparent
from services.kernel.limit_kind import LimitKind
from services.kernel.money import format_usd
from services.quota.domain.policies.denial import Deny
from services.quota.domain.policies.limit_id import kind_of
from services.quota.usecases.admit import Admitted

_NAME = "quota.reserve"


class DecisionSpans:
    """Makes one span for each decision. It costs nothing if tracing is off or the trace is not sampled."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def start(self, traceparent: str) -> Span | None:
        """Begins the span under Envoy's `traceparent`; None if nobody would see it."""
        if not self._telemetry.enabled:
            return None
        parent = parent_of_traceparent(traceparent)
        if parent is None:
            return None
        return self._telemetry.tracer.start_span(_NAME, context=in_context(parent), kind=SpanKind.SERVER)

    @staticmethod
    def finish(span: Span | None, model: str, outcome: Admitted | Deny | None) -> None:
        """Ends the span. `outcome` is None if we could not decide."""
        if span is None:
            return
        span.set_attribute("gen_ai.request.model", model)
        if isinstance(outcome, Admitted):
            span.set_attributes(_allowed(outcome))
        else:
            span.set_attributes(_denied(outcome))
        span.end()


def _allowed(admitted: Admitted) -> dict[str, str | int | tuple[str, ...]]:
    reservation = admitted.reservation
    attribution = reservation.attribution
    spend = [hold.held for hold in reservation.holds if kind_of(hold.counter.limit_id) is LimitKind.SPEND]
    attributes: dict[str, str | int | tuple[str, ...]] = {
        "spendgate.decision": "downgrade" if admitted.downgraded else "allow",
        "spendgate.decision.reason": _reason(admitted),
        "spendgate.policy.ids": tuple(dict.fromkeys(hold.counter.policy for hold in reservation.holds)),
        "spendgate.reservation.id": reservation.id,
        "spendgate.reservation.amount_usd": format_usd(max(spend, default=0)),
        "spendgate.chain": tuple(reservation.chain),
        "spendgate.key.id": attribution.key_id,
        "spendgate.team": attribution.team,
        "spendgate.project": attribution.project,
        "spendgate.environment": attribution.environment,
        "spendgate.user": attribution.user,
    }
    if admitted.tightest is not None:
        attributes["spendgate.policy.binding"] = admitted.tightest.policy
    if admitted.output_cap_tokens is not None:
        attributes["spendgate.output_cap_tokens"] = admitted.output_cap_tokens
    if admitted.shadowed:
        attributes["spendgate.policy.shadowed"] = tuple(
            dict.fromkeys(refusal.limit.counter.policy for refusal in admitted.shadowed)
        )
    return attributes


def _reason(admitted: Admitted) -> str:
    if admitted.without_counters:
        return "allowance"
    return "budget_used" if admitted.downgraded else "within_limits"


def _denied(deny: Deny | None) -> dict[str, str]:
    if deny is None:
        return {"spendgate.decision": "deny", "spendgate.decision.reason": "error"}
    attributes = {"spendgate.decision": "deny", "spendgate.decision.reason": deny.denial.value}
    if deny.policy:
        attributes["spendgate.policy.binding"] = deny.policy
    return attributes
