"""What finished calls teach about the next ones."""

from __future__ import annotations

from typing import NamedTuple

from services.quota.domain.admission.request_facts import Tokens


class UsageSample(NamedTuple):
    """What one call of a key for a model took."""

    key_id: str
    model: str
    usage: Tokens
    cut: bool = False
    """It used up the output to which the gateway had cut it: left alone it might have taken more."""
    text_bytes: int = 0
    """Of its request, all of whose input was text; 0: not all of it was."""
    answer_text_bytes: int = 0
    """Of its answer, as far as it was seen to be text; 0: nobody looked."""


def learn(before: Tokens | None, sample: UsageSample) -> Tokens:
    """Moves what is expected an eighth of the way to what a call took; the first call is taken as it is.

    A call that was cut can only raise what is expected, else cutting calls would teach to cut them further.
    """
    usage = sample.usage
    if before is None:
        return usage
    output = max(before.output, usage.output) if sample.cut else usage.output
    return Tokens(_towards(before.input, usage.input), _towards(before.output, output))


def _towards(before: int, now: int) -> int:
    return (7 * before + now + 4) // 8
