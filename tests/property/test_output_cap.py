"""Whatever the limits say, a cap is the largest within a call's output range that fits."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from services.kernel.dialect import Dialect
from services.kernel.limit_kind import LimitKind
from services.quota.domain.admission.case import Case
from services.quota.domain.admission.decision import decide
from services.quota.domain.admission.estimate import held_by_chain, output_cap
from services.quota.domain.admission.evaluate import Admission, evaluate
from services.quota.domain.admission.output_range import OutputRange, output_range_of
from services.quota.domain.admission.request_facts import RequestFacts, Tokens
from services.quota.domain.counters.counter import CounterKey, Level
from services.quota.domain.directory.applied_limits import AppliedLimit, AppliedLimits
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.policies.denial import Deny
from services.quota.domain.routing.compile import FitSlot, FitTarget, FitTier
from services.quota.domain.routing.plan import Face
from services.quota.domain.routing.target_facts import TargetFacts
from tests.worlds.quota import price, target

FACE = Face(Dialect.OPENAI, "lab.openai", "host", "/path", "max_tokens")
KEY = VirtualKey(Attribution("id", "ci"))
TOKENS = st.integers(0, 400)
KINDS = st.sampled_from([LimitKind.SPEND, LimitKind.TOKENS, LimitKind.OUTPUT_TOKENS, LimitKind.INPUT_TOKENS])

fit_targets = st.builds(
    lambda ceiling, input_price, output_price: FitTarget(
        target("lab/x"), FACE, TargetFacts(ceiling, 128_000, 10_000, price(input_price, output_price))
    ),
    st.integers(1, 400),
    st.integers(0, 1_000_000),
    st.integers(0, 1_000_000),
)
calls = st.builds(
    RequestFacts,
    body_bytes=TOKENS,
    choices=st.integers(1, 3),
    max_output_tokens=st.none() | TOKENS,
    thinking_tokens=st.sampled_from([0, 0, 50]),
)
learned_tokens = st.none() | st.builds(Tokens, TOKENS, TOKENS)


@dataclass(frozen=True)
class Situation:
    """A call near its limits."""

    tiers: list[FitTier]
    limits: AppliedLimits
    levels: list[Level]
    facts: RequestFacts
    learned: Tokens | None
    contended: bool

    @property
    def output_range(self) -> OutputRange:
        """The call's output range."""
        return output_range_of(self.facts, self.learned, contended=self.contended)

    @property
    def candidates(self) -> list[tuple[FitTarget, ...]]:
        """The chains that may serve, in order."""
        return [part for tier in self.tiers if tier.fixed for part in (tier.fixed, tier.fixed[:1])]

    def evaluate(self) -> Admission | Deny:
        case = Case(
            key=KEY,
            model="x",
            facts=self.facts,
            limits=self.limits,
            learned=self.learned,
            contended=self.contended,
            contention_wait_ms=250,
            now_ms=0,
            draw=lambda _: 0,
        )
        return evaluate(case, self.tiers, self.levels)

    def fits(self, chain: tuple[FitTarget, ...], facts: RequestFacts) -> bool:
        held = held_by_chain(facts, tuple(each.facts for each in chain))
        return decide(self.limits.limits, self.levels, held).refusal is None


def chain_of(admission: Admission) -> tuple[FitTarget, ...]:
    return tuple(attempt.fit for attempt in admission.attempts)


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    chains = draw(st.lists(st.lists(fit_targets, min_size=1, max_size=3), min_size=1, max_size=2))
    # No budget reaches the second tier.
    tiers = [
        FitTier(at * 10**12, tuple(FitSlot((each,), (1,)) for each in chain), tuple(chain))
        for at, chain in enumerate(chains)
    ]
    facts = draw(calls)
    whole = held_by_chain(facts, (draw(st.sampled_from(chains[-1])).facts,))
    limits, levels = [], []
    for at, kind in enumerate(draw(st.lists(KINDS, min_size=1, max_size=3))):
        level = Level(draw(TOKENS), draw(TOKENS))
        room = whole.of(kind) * draw(st.integers(0, 110)) // 100
        counter = CounterKey(f"p{at}", f"{kind}/x", "organization", 0)
        enforced = draw(st.sampled_from([True, True, False]))
        limits.append(AppliedLimit(counter, kind, sum(level) + room, 1, enforced, steers=False, is_rate=False))
        levels.append(level)
    applied = AppliedLimits(
        tuple(limits), tuple(limit.counter for limit in limits), 0, 1, needs_price=True, holds_tokens=True, policies=()
    )
    return Situation(tiers, applied, levels, facts, draw(learned_tokens), draw(st.booleans()))


@given(situations())
@settings(max_examples=400)
def test_a_cap_fits_and_one_token_more_does_not_or_is_not_wanted(call: Situation) -> None:
    outcome = call.evaluate()
    if isinstance(outcome, Deny) or outcome.output_cap_tokens is None:
        return
    cap, chain = outcome.output_cap_tokens, chain_of(outcome)
    ceiling = max(output_cap(call.facts, each.facts) for each in chain)
    assert call.fits(chain, replace(call.facts, max_output_tokens=cap))
    one_more = call.fits(chain, replace(call.facts, max_output_tokens=cap + 1))
    assert not one_more or cap == min(call.output_range.most, ceiling)
    assert min(call.output_range.least, ceiling) <= cap < ceiling


@given(situations())
@settings(max_examples=400)
def test_what_fits_at_its_ceilings_is_never_cut_and_what_is_refused_has_no_room_for_the_least(call: Situation) -> None:
    outcome = call.evaluate()
    whole = [chain for chain in call.candidates if call.fits(chain, call.facts)]
    least = replace(call.facts, max_output_tokens=call.output_range.least)

    assert (isinstance(outcome, Admission) and not outcome.cut) == bool(whole)
    if isinstance(outcome, Deny):
        assert not any(call.fits(chain, least) for chain in call.candidates)
    else:
        assert not whole or chain_of(outcome) == whole[0]


@given(situations())
def test_what_the_attempts_may_take_together_is_what_is_held(call: Situation) -> None:
    outcome, asked = call.evaluate(), call.facts.max_output_tokens
    if isinstance(outcome, Deny):
        return
    allowed = 0
    for attempt in outcome.attempts:
        cap = asked if attempt.output_cap_tokens is None else attempt.output_cap_tokens
        assert cap is not None
        assert asked is None or cap <= asked
        allowed += cap * call.facts.choices
    assert allowed == outcome.held.output_tokens


@given(situations(), st.integers(0, 200_000))
def test_with_more_room_a_chain_never_gets_less(call: Situation, room: int) -> None:
    one = replace(call, tiers=[FitTier(0, call.tiers[0].slots[:1], call.candidates[0][:1])])
    wider = tuple(limit._replace(bound=limit.bound + room) for limit in call.limits.limits)
    before, after = one.evaluate(), replace(one, limits=replace(call.limits, limits=wider)).evaluate()

    if isinstance(before, Admission):
        assert isinstance(after, Admission)
        assert after.held.output_tokens >= before.held.output_tokens


@given(calls, learned_tokens)
def test_an_output_range_stays_within_what_the_client_asks_for_and_above_its_thinking_budget(
    facts: RequestFacts, learned: Tokens | None
) -> None:
    alone, sharing = (output_range_of(facts, learned, contended=contended) for contended in (False, True))
    own = facts.max_output_tokens

    assert alone.least == sharing.least <= sharing.most <= alone.most
    assert own is None or alone.most <= own
    assert alone.least > facts.thinking_tokens or alone.least == own
