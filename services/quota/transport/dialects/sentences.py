"""What a refusal says to a person: what happened, with figures, and what can be done. Never a part of a secret."""

from __future__ import annotations

from datetime import UTC, datetime

from services.kernel.money import format_usd
from services.quota.domain.denial import Denial, Deny
from services.quota.domain.policy import LimitKind

_LIST_MODELS = "GET /v1/models lists the models that it may use."
# Of the refusals that are not about an amount. {key} begins a sentence; {detail} is empty or ": ..."
_SENTENCES = {
    Denial.POLICY_UNAVAILABLE: "Budgets cannot be checked at the moment, so no call is let through. Try again shortly.",
    Denial.MALFORMED: "The request cannot be read{detail}.",
    Denial.MISSING_KEY: "No API key was given. Pass your virtual key as the api_key of your SDK.",
    Denial.INVALID_KEY: "The API key is not known here. Check that it is complete and has not been rotated.",
    Denial.DISABLED_KEY: "{key} is disabled. Ask your platform team to enable it or to give you another.",
    Denial.EXPIRED_KEY: "{key} has expired. Ask your platform team for a new one.",
    Denial.MODEL_NOT_ALLOWED: f"{{key}} may not use model {{model}}. {_LIST_MODELS}",
    Denial.MODEL_NOT_FOUND: f"Model {{model}} does not exist here. {_LIST_MODELS}",
    Denial.UPSTREAM_UNAVAILABLE: "Model {model} has no usable target{detail}. Tell your platform team, or try later.",
    Denial.NO_FIT_TARGET: "No target of model {model} can carry this request{detail}.",
    Denial.UNPRICED_MODEL: (
        "Model {model} has no price, so a spending limit cannot be kept with it{detail}. "
        "Ask your platform team to set one under `prices`."
    ),
}
_UNITS = {
    LimitKind.TOKENS: "tokens",
    LimitKind.INPUT_TOKENS: "input tokens",
    LimitKind.OUTPUT_TOKENS: "output tokens",
    LimitKind.REQUESTS: "requests",
}
# The longest hour, day and month there are, with a clock that is put back.
_PERIODS = ((60_000, "this minute"), (3_600_000, "this hour"), (26 * 3_600_000, "today"))


def sentence_of(deny: Deny) -> str:
    """The text of a refusal."""
    template = _SENTENCES.get(deny.denial)
    if template is None:
        return _budget_sentence(deny)
    return template.format(
        key=f"API key {deny.key}" if deny.key else "The API key",
        model=deny.model,
        detail=f": {deny.detail}" if deny.detail else "",
    )


def format_time(instant_ms: int) -> str:
    """RFC 3339 in UTC; milliseconds only where there are some."""
    instant = datetime.fromtimestamp(instant_ms / 1000, UTC)
    spec = "milliseconds" if instant_ms % 1000 else "seconds"
    return instant.isoformat(timespec=spec).replace("+00:00", "Z")


def _budget_sentence(deny: Deny) -> str:
    used = f"{_amount(deny, deny.used)} of {_bound(deny)} {_verb(deny)} {_period(deny)}"
    anew = f"it starts anew on {format_time(deny.resets_at_ms)}"
    wait = f"Try again in {(deny.retry_after_ms or 0) / 1000:g} s."
    match deny.denial:
        case Denial.BUDGET_EXHAUSTED:
            rest = ", and what is left does not cover a call like this" if deny.used < deny.limit else ""
            return f"Budget {deny.policy} is exhausted: {used}{rest}; {anew}."
        case Denial.RATE_LIMITED:
            return f"Rate limit {deny.policy} is reached: {used}. {wait}"
        case Denial.RESERVATION_CONTENTION:
            held = f"calls in flight hold {_amount(deny, deny.reserved)}"
            return f"Budget {deny.policy} has no room at this moment: {used}, and {held}. {wait}"
        case _:
            left = _amount(deny, max(0, deny.limit - deny.used))
            affordable = deny.max_affordable_output_tokens
            lower = f"Set max_tokens to at most {affordable:,}" if affordable else "Lower max_tokens"
            detail = f" {deny.detail[0].upper()}{deny.detail[1:]}." if deny.detail else ""
            return (
                f"This request takes {_amount(deny, deny.requested)} or more, but budget {deny.policy} has {left} "
                f"left: {used}; {anew}. {lower} or shorten the prompt.{detail}"
            )


def _amount(deny: Deny, amount: int) -> str:
    if deny.limit_kind is LimitKind.SPEND:
        whole, _, fraction = format_usd(amount).partition(".")
        return f"${int(whole):,}.{fraction}"
    return f"{amount:,}"


def _bound(deny: Deny) -> str:
    if deny.limit_kind is LimitKind.SPEND:
        return _amount(deny, deny.limit).rstrip("0").rstrip(".")
    return f"{deny.limit:,} {_UNITS.get(deny.limit_kind, '') if deny.limit_kind else ''}".rstrip()


def _verb(deny: Deny) -> str:
    return "spent" if deny.limit_kind is LimitKind.SPEND else "used"


def _period(deny: Deny) -> str:
    length_ms = deny.resets_at_ms - deny.window_start_ms
    return next((words for longest_ms, words in _PERIODS if length_ms <= longest_ms), "this month")
