"""Fitness: whether a target can carry a call. One that cannot is left out of the chain before Envoy starts it.

An attempt that must fail would cost the client its answer: providers refuse such calls with 400, after which Envoy
tries no other target.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from services.kernel.dialect import UNKNOWN_MEMBERS
from services.kernel.envoy_contract import LeadReason
from services.quota.domain.admission.estimate import is_boundable
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.domain.routing.compile import FitTarget, FitTier, targets_of

MAX_OUTPUT = "max_output"
"""The call's thinking alone takes as much output as the model writes, or more."""
CONTEXT_WINDOW = "context_window"
"""The call's text is far longer than the model reads."""

# No text that people or programs write has that many bytes for each token, over a whole conversation.
_MOST_BYTES_OF_A_TOKEN = 8
# A shorter text fits every model.
_LONG_TEXT_BYTES = 1 << 13


class LeftOut(NamedTuple):
    """A target that was left out of a chain."""

    target: str
    lacks: tuple[str, ...]
    """What the call needs and it lacks: features, `MAX_OUTPUT` or `CONTEXT_WINDOW`."""


class Fitness:
    """The fitness of targets for one call."""

    __slots__ = ("_facts", "_has_chain", "_is_demanding", "_passed_over")

    def __init__(self, facts: RequestFacts) -> None:
        self._facts = facts
        # Most calls are plain text of no great length, which every target carries.
        self._is_demanding = (
            bool(facts.features or facts.unknown_members or facts.thinking_tokens)
            or facts.body_bytes > _LONG_TEXT_BYTES
        )
        self._has_chain = False
        self._passed_over: FitTier | None = None
        """The first tier, if no target of it can serve the call."""

    def able(self, chain: tuple[FitTarget, ...]) -> tuple[FitTarget, ...]:
        """The targets that carry the call. If the text seems too long for all of them, only their providers know."""
        if not self._is_demanding:
            return chain
        facts = self._facts
        able = tuple([target for target in chain if not lacking(facts, target)])
        return tuple([target for target in able if not _is_too_long(facts, target)]) or able

    def note(self, tier: FitTier, chain: tuple[FitTarget, ...]) -> None:
        """Notes the chain of a tier in which every target can serve the call. Tiers come in the order of attempts."""
        if chain:
            self._has_chain = True
        elif not self._has_chain and self._passed_over is None:
            self._passed_over = tier

    def lead_reason(self, tier: FitTier, leader: FitTarget) -> LeadReason | None:
        """Why `leader`, of this tier, leads and not the model's first target; None: it is the first."""
        due = self._passed_over
        if due is None:
            if tier.reason is not None or leader in tier.slots[0].targets:
                return tier.reason
            due = tier
        facts = self._facts
        is_unfit = any(self._lacks(target) or not is_boundable(facts, target.facts) for target in due.slots[0].targets)
        return LeadReason.UNFIT if is_unfit else LeadReason.UNPRICED

    def left_out(self, tier: FitTier, chain: tuple[FitTarget, ...]) -> tuple[LeftOut, ...]:
        """The targets that cannot carry the call, of the tier and of the one that was due."""
        if not self._is_demanding:
            return ()
        tiers = (tier,) if self._passed_over is None else (self._passed_over, tier)
        targets = dict.fromkeys(target for each in tiers for target in targets_of(each) if target not in chain)
        return tuple([LeftOut(target.target.name, lacks) for target in targets if (lacks := self._lacks(target))])

    def _lacks(self, target: FitTarget) -> tuple[str, ...]:
        return lacking(self._facts, target) or ((CONTEXT_WINDOW,) if _is_too_long(self._facts, target) else ())


def lacking(facts: RequestFacts, fit: FitTarget) -> tuple[str, ...]:
    """What the call needs and the target lacks for sure, sorted: features, or `MAX_OUTPUT`. Empty: nothing."""
    target, found = fit.target, sorted(facts.features & fit.lacks)
    if facts.unknown_members and UNKNOWN_MEMBERS in fit.lacks:
        found.append(UNKNOWN_MEMBERS)
    if target.is_output_known and facts.thinking_tokens >= target.max_output_tokens > 0:
        found.append(MAX_OUTPUT)
    return tuple(found)


def lacking_in_words(names: Iterable[str]) -> str:
    """What a target lacks, as the end of "lab/tiny carries no ..."."""
    return " and no ".join(_WORDS.get(name, name.replace("_", " ")) for name in names)


def _is_too_long(facts: RequestFacts, fit: FitTarget) -> bool:
    """Whether the text is very probably longer than the model reads. Only the provider knows for sure."""
    window = fit.target.context_window_tokens
    return window > 0 and max(window, facts.window_tokens) * _MOST_BYTES_OF_A_TOKEN < facts.text_bytes


_WORDS = {
    UNKNOWN_MEMBERS: "members that the gateway does not know",
    MAX_OUTPUT: "thinking budget as large as the request's",
    CONTEXT_WINDOW: "text as long as the request's",
    "response_format": "`response_format`",
}
