"""The text of a refusal for people: what happened, with figures, and what to do. It never shows part of a secret."""

from __future__ import annotations

from services.kernel.clock import format_time
from services.kernel.limit_kind import LimitKind
from services.kernel.money import format_usd
from services.kernel.window import WindowUnit
from services.quota.domain.policies.denial import Denial, Deny

_LIST_MODELS = "GET /v1/models lists the models that it may use."
# The texts of refusals that are not about an amount. {key} begins a sentence; {detail} is empty or ": ..."
_SENTENCES = {
    Denial.POLICY_UNAVAILABLE: "Budgets cannot be checked at the moment, so every call is refused. Try again shortly.",
    Denial.MALFORMED: "The request cannot be read{detail}.",
    Denial.MISSING_KEY: "No API key was given. Pass your virtual key as the api_key of your SDK.",
    Denial.INVALID_KEY: "The API key is not known here. Check that it is complete and has not been rotated.",
    Denial.DISABLED_KEY: "{key} is disabled. Ask your platform team to enable it or to give you another.",
    Denial.EXPIRED_KEY: "{key} has expired. Ask your platform team for a new one.",
    Denial.MODEL_NOT_ALLOWED: f"{{key}} may not use model {{model}}. {_LIST_MODELS}",
    Denial.MODEL_NOT_FOUND: f"Model {{model}} does not exist here. {_LIST_MODELS}",
    Denial.UPSTREAM_UNAVAILABLE: "Model {model} has no usable target{detail}. Tell your platform team, or try later.",
    Denial.NO_FIT_TARGET: "No target of model {model} can serve this request{detail}.",
    Denial.UNBOUNDED_KEY: (
        "{key} has no limit for model {model}: no policy in force bounds what its calls can take, so all are "
        "refused. Ask your platform team for a policy that matches it, or to mark the key as unlimited."
    ),
    Denial.UNKNOWN_MEMBER: (
        "Policy {policy} refuses what the gateway does not know{detail}. Remove it from the request, or ask your "
        "platform team to let it pass with `unknown_members: hold`."
    ),
    Denial.UNPRICED_MODEL: (
        "Model {model} has no price, so no spending limit can hold for it{detail}. "
        "Ask your platform team to set one under `prices`."
    ),
}
_PERIODS = {WindowUnit.DAY: "today", WindowUnit.LIFETIME: "in all"}


def sentence_of(deny: Deny) -> str:
    """The text of a refusal."""
    template = _SENTENCES.get(deny.denial)
    if template is None:
        return (_cap_sentence(deny) or _budget_sentence(deny)) + _override(deny)
    return template.format(
        key=f"API key {deny.key}" if deny.key else "The API key",
        model=deny.model,
        policy=deny.policy,
        detail=f": {deny.detail}" if deny.detail else "",
    )


def _cap_sentence(deny: Deny) -> str:
    """The text for a limit without a period of its own; empty for other limits."""
    wait = _wait(deny)
    match deny.limit_kind:
        case LimitKind.CONCURRENCY if deny.denial.transient:
            return f"Limit {deny.policy} is reached: {deny.reserved:,} of {_bound(deny)} are in flight. {wait}"
        case LimitKind.BURN_RATE:
            return (
                f"API key {deny.key} spends far faster than it usually does: {_amount(deny, deny.used)} in the last "
                f"minute, and {deny.policy} allows {_amount(deny, deny.limit)}. Look for a loop; if the spending is "
                f"meant, ask your platform team for a higher burn rate. {wait}"
            )
        case LimitKind.REQUEST_COST:
            return (
                f"This request may cost {_amount(deny, deny.requested)}, and {deny.policy} lets no request cost more "
                f"than {_bound(deny)}. {_lower(deny)} or shorten the prompt."
            )
        case _:
            return ""


def _budget_sentence(deny: Deny) -> str:
    used = f"{_amount(deny, deny.used)} of {_bound(deny)} {_verb(deny)} {_period(deny)}{_in_doubt(deny)}"
    anew = _anew(deny)
    wait = _wait(deny)
    match deny.denial:
        case Denial.BUDGET_EXHAUSTED:
            rest = ", and what is left does not cover a call like this" if deny.used + deny.doubt < deny.limit else ""
            return f"Budget {deny.policy} is exhausted: {used}{rest}; {anew}.{_about_doubt(deny)}"
        case Denial.RATE_LIMITED:
            return f"Rate limit {deny.policy} is reached: {used}. {wait}"
        case Denial.RESERVATION_CONTENTION:
            held = f"calls in flight hold {_amount(deny, deny.reserved)}"
            return f"Budget {deny.policy} has no room right now: {used}, and {held}. {wait}"
        case _:
            left = _amount(deny, max(0, deny.limit - deny.used - deny.doubt))
            detail = f" {deny.detail[0].upper()}{deny.detail[1:]}." if deny.detail else ""
            return (
                f"This request takes {_amount(deny, deny.requested)} or more, but budget {deny.policy} has {left} "
                f"left: {used}; {anew}. {_lower(deny)} or shorten the prompt.{detail}{_about_doubt(deny)}"
            )


def _in_doubt(deny: Deny) -> str:
    return f", and {_amount(deny, deny.doubt)} in doubt" if deny.doubt else ""


def _about_doubt(deny: Deny) -> str:
    """What doubt is, and what to do about it; empty if there is none."""
    if not deny.doubt:
        return ""
    return (
        " Calls that were cut off may have taken more than was counted for them: that amount is in doubt. Let answers "
        "finish, and ask your platform team to look at it with `spendgate doubt list`."
    )


def _lower(deny: Deny) -> str:
    affordable = deny.max_affordable_output_tokens
    return f"Set max_tokens to at most {affordable:,}" if affordable else "Lower max_tokens"


def _wait(deny: Deny) -> str:
    return f"Try again in {(deny.retry_after_ms or 0) / 1000:g} s."


def _amount(deny: Deny, amount: int) -> str:
    if deny.limit_kind and deny.limit_kind.is_money:
        whole, _, fraction = format_usd(amount).partition(".")
        return f"${int(whole):,}.{fraction}"
    return f"{amount:,}"


def _bound(deny: Deny) -> str:
    if deny.limit_kind and deny.limit_kind.is_money:
        return _amount(deny, deny.limit).rstrip("0").rstrip(".")
    return f"{deny.limit:,} {deny.limit_kind.unit if deny.limit_kind else ''}".rstrip()


def _override(deny: Deny) -> str:
    """The origin of the bound, if it is not the policy's own."""
    until_ms = deny.overridden_until_ms
    return f" The limit is an override until {format_time(until_ms)}." if until_ms else ""


def _verb(deny: Deny) -> str:
    return "spent" if deny.limit_kind and deny.limit_kind.is_money else "used"


def _period(deny: Deny) -> str:
    """The period to which the used amount belongs."""
    if deny.window is None:
        return "so far"
    if deny.window.unit is WindowUnit.ROLLING:
        return f"in the last {_length(deny.window.rolling_ms)}"
    return _PERIODS.get(deny.window.unit, f"this {deny.window.unit}")


def _anew(deny: Deny) -> str:
    """When there will be room again."""
    match deny.window.unit if deny.window else None:
        case WindowUnit.LIFETIME:
            return "it never resets"
        case WindowUnit.RUN:
            return "each run starts from zero"
        case WindowUnit.ROLLING:
            return f"room comes back bit by bit, next on {format_time(deny.resets_at_ms)}"
        case _:
            return f"it resets on {format_time(deny.resets_at_ms)}"


def _length(length_ms: int) -> str:
    for unit_ms, unit in ((86_400_000, "days"), (3_600_000, "hours")):
        if length_ms % unit_ms == 0 and length_ms > unit_ms:
            return f"{length_ms // unit_ms} {unit}"
    return f"{length_ms // 60_000} minutes"
