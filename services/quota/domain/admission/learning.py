"""Learns from finished calls what the next ones will typically take."""

from __future__ import annotations

from typing import NamedTuple

from services.quota.domain.admission.request_facts import Tokens


class UsageSample(NamedTuple):
    """What one call of a key for a model took."""

    key_id: str
    model: str
    usage: Tokens
    cut: bool = False
    """The call used up the output to which the gateway had cut it. Without the cut it might have taken more."""
    text_bytes: int = 0
    """The size of the request if all its input was text; 0: some of it was not."""
    answer_text_bytes: int = 0
    """The bytes of text that we saw of its answer; 0: nobody looked."""


def learn(before: Tokens | None, sample: UsageSample) -> Tokens:
    """Moves the typical use an eighth of the way towards that of a call. The first call sets it.

    A cut call can only raise the typical use. Otherwise each cut would teach us to cut further.
    """
    usage = sample.usage
    if before is None:
        return usage
    output = max(before.output, usage.output) if sample.cut else usage.output
    return Tokens(_towards(before.input, usage.input), _towards(before.output, output))


def _towards(before: int, now: int) -> int:
    return (7 * before + now + 4) // 8
