"""A refusal in HTTP terms for all dialects: its status, type, code and text, and whether to try again.

SDKs retry every 429 and 5xx, and some clients a 401, unless a header tells them not to. So a refusal that waiting
cannot lift says `x-should-retry: false`, and one that waiting can lift says how long to wait. A budget is never a 403.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.kernel.clock import format_time
from services.kernel.envoy_contract import ATTEMPTS_HEADER, MODEL_REQUESTED_HEADER, POLICY_HEADER
from services.kernel.money import format_usd
from services.quota.domain.policies.denial import Denial, Deny
from services.quota.domain.policies.limit_status import LimitStatus, remaining_of
from services.quota.domain.policies.policy import PAYMENT_REQUIRED
from services.quota.transport.dialects.answer import Json
from services.quota.transport.dialects.sentences import sentence_of
from services.quota.transport.limit_headers import budget_headers

# A client that waits longer than this is better off telling its user.
_LONGEST_RETRY_MS = 20_000
_UNAVAILABLE_RETRY_MS = 1_000
_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class Classification:
    """How the three dialects classify a refusal."""

    status: int
    openai_type: str
    openai_code: str
    anthropic_type: str
    gemini_status: str


_INVALID = "invalid_request_error"
_KEY = Classification(401, _INVALID, "invalid_api_key", "authentication_error", "UNAUTHENTICATED")
_NO_MODEL = Classification(404, _INVALID, "model_not_found", "not_found_error", "NOT_FOUND")
_UNSUPPORTED = Classification(400, _INVALID, "unsupported_parameter", _INVALID, "INVALID_ARGUMENT")
_RATE = Classification(429, "requests", "rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED")

CLASSIFICATIONS = {
    Denial.POLICY_UNAVAILABLE: Classification(503, "server_error", "policy_unavailable", "api_error", "UNAVAILABLE"),
    Denial.MALFORMED: Classification(400, _INVALID, "malformed_request", _INVALID, "INVALID_ARGUMENT"),
    Denial.MISSING_KEY: _KEY,
    Denial.INVALID_KEY: _KEY,
    Denial.DISABLED_KEY: _KEY,
    Denial.EXPIRED_KEY: Classification(401, _INVALID, "expired_api_key", "authentication_error", "UNAUTHENTICATED"),
    Denial.MODEL_NOT_ALLOWED: Classification(
        403, _INVALID, "model_not_allowed", "permission_error", "PERMISSION_DENIED"
    ),
    Denial.MODEL_NOT_FOUND: _NO_MODEL,
    Denial.UNBOUNDED_KEY: Classification(403, _INVALID, "unbounded_key", "permission_error", "PERMISSION_DENIED"),
    Denial.UPSTREAM_UNAVAILABLE: Classification(
        503, "server_error", "upstream_unavailable", "api_error", "UNAVAILABLE"
    ),
    Denial.UNPRICED_MODEL: _NO_MODEL,
    Denial.NO_FIT_TARGET: _UNSUPPORTED,
    Denial.UNKNOWN_MEMBER: _UNSUPPORTED,
    Denial.REQUEST_COST_LIMIT: Classification(
        400, _INVALID, "request_cost_limit_exceeded", _INVALID, "INVALID_ARGUMENT"
    ),
    Denial.BUDGET_EXHAUSTED: Classification(
        429, "insufficient_quota", "insufficient_quota", "rate_limit_error", "RESOURCE_EXHAUSTED"
    ),
    Denial.REQUEST_EXCEEDS_REMAINING_BUDGET: Classification(
        429, "insufficient_quota", "request_exceeds_remaining_budget", "rate_limit_error", "RESOURCE_EXHAUSTED"
    ),
    Denial.BURN_RATE: _RATE,
    Denial.RATE_LIMITED: _RATE,
    Denial.RESERVATION_CONTENTION: _RATE,
}
_LASTING = {Denial.BUDGET_EXHAUSTED, Denial.REQUEST_EXCEEDS_REMAINING_BUDGET}
_ABOUT_MODEL = {Denial.MODEL_NOT_ALLOWED, Denial.MODEL_NOT_FOUND, Denial.UNPRICED_MODEL}


@dataclass(frozen=True, slots=True)
class Wording:
    """A refusal, ready to be put into an envelope."""

    classification: Classification
    openai_type: str
    message: str
    param: str | None
    """The part of the request that is at fault; None if none is."""
    details: dict[str, Json]
    """Machine-readable figures. Amounts of money are decimal strings of US dollars; other amounts are integers."""
    retry_after_ms: int | None
    headers: tuple[tuple[str, str], ...]


def word(deny: Deny, trace_id: str) -> Wording:
    """Puts a denial into words. `trace_id` is empty if there is no trace."""
    classification = CLASSIFICATIONS[deny.denial]
    if deny.denial in _LASTING and deny.exhausted_status == PAYMENT_REQUIRED:
        classification = replace(classification, status=PAYMENT_REQUIRED, anthropic_type="billing_error")
    counts_tokens = classification is _RATE and deny.limit_kind is not None and deny.limit_kind.is_tokens
    retry_after_ms = _retry_after_ms(deny)
    return Wording(
        classification=classification,
        openai_type="tokens" if counts_tokens else classification.openai_type,
        message=sentence_of(deny),
        param="model" if deny.denial in _ABOUT_MODEL else deny.parameter or None,
        details=_details(deny, trace_id),
        retry_after_ms=retry_after_ms,
        headers=(*_retry_headers(classification.status, retry_after_ms), *_budget_headers(deny)),
    )


def _retry_after_ms(deny: Deny) -> int | None:
    if deny.denial is Denial.POLICY_UNAVAILABLE:
        return deny.retry_after_ms or _UNAVAILABLE_RETRY_MS
    return deny.retry_after_ms if deny.denial.transient else None


def _retry_headers(status: int, retry_after_ms: int | None) -> tuple[tuple[str, str], ...]:
    """SDKs read the header in milliseconds first; the plain one is for other clients.

    Most clients retry no other 4xx by themselves, but some retry a 401 for ever.
    """
    headers: list[tuple[str, str]] = []
    if retry_after_ms is not None:
        headers += [("retry-after-ms", str(retry_after_ms)), ("retry-after", str(-(-retry_after_ms // 1000)))]
    if status < _SERVER_ERROR and (retry_after_ms is None or retry_after_ms > _LONGEST_RETRY_MS):
        headers.append(("x-should-retry", "false"))
    return tuple(headers)


def _budget_headers(deny: Deny) -> tuple[tuple[str, str], ...]:
    if deny.limit_kind is None:
        return ()
    asked = ((MODEL_REQUESTED_HEADER, deny.model), (ATTEMPTS_HEADER, "0"))
    if not deny.limit_kind.has_window:
        return (*asked, (POLICY_HEADER, deny.policy))
    remaining = remaining_of(deny.limit_kind, deny.limit, deny.used, deny.reserved, deny.doubt)
    refused_by = LimitStatus(deny.policy, deny.scope, deny.limit_kind, deny.limit, remaining, deny.resets_at_ms)
    return (*asked, *budget_headers(refused_by))


def _details(deny: Deny, trace_id: str) -> dict[str, Json]:
    details: dict[str, Json] = {"reason": deny.denial.value}
    if deny.policy:
        details |= {"policy": deny.policy, "scope": deny.scope}
    if deny.limit_kind is not None:
        money = deny.limit_kind.is_money
        amounts = {
            "limit": deny.limit,
            "used": deny.used,
            "reserved": deny.reserved,
            "doubt": deny.doubt,
            "requested": deny.requested,
        }
        details["limit_kind"] = deny.limit_kind.value
        details |= {name: format_usd(amount) if money else amount for name, amount in amounts.items()}
        if deny.limit_kind.has_window:
            details["window_start"] = format_time(deny.window_start_ms)
            details["resets_at"] = format_time(deny.resets_at_ms)
    if deny.overridden_until_ms:
        details["override_until"] = format_time(deny.overridden_until_ms)
    if deny.max_affordable_output_tokens:
        details["max_affordable_output_tokens"] = deny.max_affordable_output_tokens
    if trace_id:
        details["trace_id"] = trace_id
    return details
