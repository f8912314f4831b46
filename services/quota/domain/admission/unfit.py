"""Denials of calls that no target can serve. Each names the part of the request that is in the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.kernel.usage import OUTPUT
from services.quota.domain.admission.case import Case
from services.quota.domain.admission.estimate import is_boundable
from services.quota.domain.admission.fitness import lacking, lacking_in_words
from services.quota.domain.admission.price_options import extras_of, member_of
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.domain.directory.applied_limits import AppliedLimits
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.policies.denial import Denial, Deny
from services.quota.domain.routing.compile import FitTier, targets_of

_BEYOND = "it has input from beyond the request"


_MOST_NAMED = 8


def refuse_unknown_members(key: VirtualKey, limits: AppliedLimits, model: str, facts: RequestFacts) -> Deny | None:
    """The denial of a call with unknown members, if one of its policies refuses them; else None."""
    unknown = facts.unknown_members
    if limits.refuses_unknown_members is None or not unknown:
        return None
    policy, scope = limits.refuses_unknown_members
    more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
    return Deny(
        Denial.UNKNOWN_MEMBER,
        f"{', '.join(unknown[:_MOST_NAMED])}{more}",
        model=model,
        parameter=unknown[0],
        key=key.name,
        policy=policy,
        scope=scope,
    )


def unfit(case: Case, tiers: Sequence[FitTier]) -> Deny:
    """The denial of a call that no target of these tiers can serve."""
    facts, model, key = case.facts, case.model, case.key.name
    lacks = {
        target.target.name: names for tier in tiers for target in targets_of(tier) if (names := lacking(facts, target))
    }
    if all(target.target.name in lacks for tier in tiers for target in targets_of(tier)):
        return _cannot_carry(lacks, model, key)
    if not any(is_boundable(facts, target.facts) for tier in tiers for target in targets_of(tier)):
        beyond = f"the gateway does not know {', '.join(facts.unknown_members)}" if facts.unknown_members else _BEYOND
        detail = f"{beyond}, and no target of the model has a known context window"
        member = facts.unknown_members[0] if facts.unknown_members else ""
        return Deny(Denial.NO_FIT_TARGET, detail, model=model, key=key, parameter=member)
    if facts.price_options:
        option = extras_of(facts.price_options).unpriceable or facts.price_options[0]
        hint = " without max_uses" if option.startswith("tools.web_") and "=" not in option else ""
        detail = f"a limit on spend applies, and no price is known for {option}{hint}"
        return Deny(Denial.NO_FIT_TARGET, detail, model=model, key=key, parameter=member_of(option))
    if facts.operation.writes and not _prices_output(tiers):
        detail = "none of its targets has a price for output"
    elif "audio" in facts.features:
        detail = "none of its targets has a price for audio, which the request contains"
    else:
        detail = "none of its targets has a price for one-hour caching, which the request asks for"
    return Deny(Denial.UNPRICED_MODEL, detail, model=model, key=key)


def _cannot_carry(lacks: Mapping[str, tuple[str, ...]], model: str, key: str) -> Deny:
    shown = [f"{name} carries no {lacking_in_words(names)}" for name, names in lacks.items()]
    more = f", and {len(shown) - _MOST_NAMED} more lack something" if len(shown) > _MOST_NAMED else ""
    missing = next(iter(lacks.values()))[0]
    parameter = missing if missing in _MEMBERS else ""
    detail = f"{', '.join(shown[:_MOST_NAMED])}{more}"
    return Deny(Denial.NO_FIT_TARGET, detail, model=model, key=key, parameter=parameter)


_MEMBERS = frozenset({"tools", "response_format"})
"""Features that are members of a request in some dialect."""


def _prices_output(tiers: Sequence[FitTier]) -> bool:
    """Whether some price has a rate for output. Those of embedding models have none."""
    prices = (target.facts.price for tier in tiers for target in targets_of(tier))
    return any(each.rate(OUTPUT) is not None for price in prices if price is not None for each in price.tiers)
