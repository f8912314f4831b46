"""Why no target of a model can carry a call: the refusal that names what is in the way."""

from __future__ import annotations

from collections.abc import Sequence

from services.quota.domain.denial import Denial, Deny
from services.quota.domain.estimate import RequestFacts, is_boundable
from services.quota.domain.key import VirtualKey
from services.quota.domain.price_options import extras_of, member_of
from services.quota.domain.tier import FitTier, targets_of

_BEYOND = "it has input that is not in the request"


def unfit(key: VirtualKey, model: str, tiers: Sequence[FitTier], facts: RequestFacts) -> Deny:
    """The refusal when `weigh` finds no target that can carry a call."""
    if not any(is_boundable(facts, target.facts) for tier in tiers for target in targets_of(tier)):
        beyond = f"nobody here knows {', '.join(facts.unknown_members)}" if facts.unknown_members else _BEYOND
        detail = f"{beyond}, and no target of the model has a known context window"
        member = facts.unknown_members[0] if facts.unknown_members else ""
        return Deny(Denial.NO_FIT_TARGET, detail, model=model, key=key.name, parameter=member)
    if facts.price_options:
        option = extras_of(facts.price_options).unpriceable or facts.price_options[0]
        hint = " without max_uses" if option.startswith("tools.web_") and "=" not in option else ""
        detail = f"a limit on spend applies, and no price is known for {option}{hint}"
        return Deny(Denial.NO_FIT_TARGET, detail, model=model, key=key.name, parameter=member_of(option))
    if "audio" in facts.features:
        detail = "none of its targets has a price for sound, which the request holds"
    else:
        detail = "none of its targets has a price for caching that lasts an hour, which the request asks for"
    return Deny(Denial.UNPRICED_MODEL, detail, model=model, key=key.name)
