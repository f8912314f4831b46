"""What to book for a call that no provider measured: its own size, by what measured ones taught.

The input follows from this call's bytes and the scale of its key and model. The output of an answer that was seen
in part follows, in the ledger, from the text of it that was seen, and its scale goes there with the admission; of one
that nobody saw it is what such calls usually take. A key that never called a model before goes by what all keys taught
of it. Before anybody did, and wherever the rest of the input is not text, nothing better is known than the bound.
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
"""Some 80 bytes of JSON around the text of a request, less what providers count for the roles of its messages."""


_ANSWER = Assumed(per_call=0, least=0)


class Taught(NamedTuple):
    """What calls taught of a key and a model, or of a model over all keys."""

    typical: Tokens | None = None
    """What they took."""
    request: Scale = Scale()
    """Input tokens by bytes of the request's text."""
    answer: Scale = Scale()
    """Output tokens by bytes of the answer's text."""

    def after(self, sample: UsageSample) -> Taught:
        """What is known after one more call."""
        request, answer = self.request, self.answer
        if sample.text_bytes:
            request = request.after(sample.text_bytes, sample.usage.input, _REQUEST)
        if sample.answer_text_bytes:
            answer = answer.after(sample.answer_text_bytes, sample.usage.output, _ANSWER)
        return Taught(learn(self.typical, sample), request, answer)


NOTHING_TAUGHT = Taught()


class Guide(NamedTuple):
    """What an estimate goes by. None: nobody knows."""

    typical_output: int | None
    request: Line | None
    answer: Line | None

    @classmethod
    def of(cls, own: Taught | None, everybody: Taught | None) -> Guide:
        """What the key taught itself, and where it did not, what all did."""
        own, everybody = own or NOTHING_TAUGHT, everybody or NOTHING_TAUGHT
        typical = own.typical or everybody.typical
        return cls(
            typical.output if typical else None,
            own.request.line(_REQUEST) or everybody.request.line(_REQUEST),
            own.answer.line(_ANSWER) or everybody.answer.line(_ANSWER),
        )


def unmeasured_tokens(facts: RequestFacts, target: TargetFacts, guide: Guide) -> Tokens:
    """What to book for one attempt of which nobody saw an answer. Never above its bound."""
    most = bound(facts, target)
    tokens = most.input
    if guide.request is not None and not facts.reaches_beyond:
        tokens = guide.request.tokens(facts.text_bytes) + facts.images * target.image_tokens
    output = most.output if guide.typical_output is None else guide.typical_output
    return Tokens(min(tokens, most.input), min(output, most.output))


def taught_by_text(facts: RequestFacts) -> int:
    """Bytes of the request's text, if that is all of its input; else 0: such a call says nothing about text."""
    other = facts.images or facts.audio_bytes or facts.reaches_beyond
    return 0 if other else facts.body_bytes
