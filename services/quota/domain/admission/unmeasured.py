"""Estimates for calls that no provider measured, from their own size and from what measured calls taught.

The input follows from the bytes of the call and the scale of its key and model. If somebody saw part of the answer, the
ledger derives the output from that text; the admission sends the ledger the scale for it. If nobody saw the answer, the
output is the typical one. A key that never called a model goes by what all keys taught about the model. Before any call
has taught us, and if some input is not text, we know nothing better than the bound.
"""

from __future__ import annotations

from typing import NamedTuple

from services.kernel.usage import Line
from services.quota.domain.admission.estimate import bound
from services.quota.domain.admission.learning import UsageSample, learn
from services.quota.domain.admission.request_facts import RequestFacts, Tokens
from services.quota.domain.admission.scale import Assumed, Scale
from services.quota.domain.routing.target_facts import TargetFacts

_REQUEST = Assumed(per_call=-16, least=-1_000)
"""Some 80 bytes of JSON around the text of a request, minus the tokens that providers count for message roles."""


_ANSWER = Assumed(per_call=0, least=0)


class Taught(NamedTuple):
    """What calls taught us about a key and a model, or about a model over all keys."""

    typical: Tokens | None = None
    """What the calls typically take."""
    request: Scale = Scale()
    """Input tokens by bytes of the request's text."""
    answer: Scale = Scale()
    """Output tokens by bytes of the answer's text."""

    def after(self, sample: UsageSample) -> Taught:
        """What calls have taught after one more."""
        request, answer = self.request, self.answer
        if sample.text_bytes:
            request = request.after(sample.text_bytes, sample.usage.input, _REQUEST)
        if sample.answer_text_bytes:
            answer = answer.after(sample.answer_text_bytes, sample.usage.output, _ANSWER)
        return Taught(learn(self.typical, sample), request, answer)


NOTHING_TAUGHT = Taught()


class Guide(NamedTuple):
    """The knowledge on which an estimate rests. None: not known."""

    typical_output: int | None
    request: Line | None
    answer: Line | None

    @classmethod
    def of(cls, own: Taught | None, everybody: Taught | None) -> Guide:
        """Takes what the key's own calls taught, and fills gaps with what the calls of all keys taught."""
        own, everybody = own or NOTHING_TAUGHT, everybody or NOTHING_TAUGHT
        typical = own.typical or everybody.typical
        return cls(
            typical.output if typical else None,
            own.request.line(_REQUEST) or everybody.request.line(_REQUEST),
            own.answer.line(_ANSWER) or everybody.answer.line(_ANSWER),
        )


def unmeasured_tokens(facts: RequestFacts, target: TargetFacts, guide: Guide, most: Tokens | None = None) -> Tokens:
    """The tokens to book for one attempt whose answer nobody saw. Never above its bound: `most`, if it is known."""
    if most is None:
        most = bound(facts, target)
    if guide.typical_output is None and guide.request is None:
        return most
    tokens = most.input
    if guide.request is not None and not facts.reaches_beyond:
        tokens = guide.request.tokens(facts.text_bytes) + facts.images * target.image_tokens
    output = most.output if guide.typical_output is None else guide.typical_output
    return Tokens(min(tokens, most.input), min(output, most.output))


def taught_by_text(facts: RequestFacts) -> int:
    """The bytes of the request's text if all its input is text; else 0: the call teaches nothing about text."""
    other = facts.images or facts.audio_bytes or facts.reaches_beyond
    return 0 if other else facts.body_bytes
