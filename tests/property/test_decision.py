"""The one comparison, for any limits, levels and amounts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.kernel.limit_kind import LimitKind
from services.quota.domain.admission.decision import decide, fits
from services.quota.domain.admission.request_facts import Amounts
from services.quota.domain.counters.counter import CounterKey, Level
from services.quota.domain.directory.applied_limits import AppliedLimit
from services.quota.domain.policies.denial import Denial

SMALL = st.integers(0, 40)
KINDS = st.sampled_from(LimitKind)


@st.composite
def limits(draw: st.DrawFn) -> AppliedLimit:
    kind = draw(KINDS)
    is_long = draw(st.booleans())
    scope = draw(st.sampled_from(["team=a", "user=b", "key=c", "organization"]))
    enforced = draw(st.booleans())
    return AppliedLimit(
        counter=CounterKey(draw(st.sampled_from("pqr")), f"{kind}/x", scope, 0),
        kind=kind,
        bound=draw(SMALL),
        window_end_ms=draw(st.integers(1, 5)),
        enforced=enforced,
        steers=enforced and is_long,
        is_rate=not is_long and kind is not LimitKind.SPEND,
    )


amounts = st.builds(Amounts, cost_nano_usd=SMALL, input_tokens=SMALL, output_tokens=SMALL)
levels = st.builds(Level, SMALL, SMALL, SMALL)
readings = st.lists(st.tuples(limits(), levels), max_size=6)


def has_room(limit: AppliedLimit, level: Level, asked: Amounts) -> bool:
    is_free = asked.of(limit.kind) == 0 and limit.kind.needs_price
    return is_free or level.settled + level.reserved + level.doubt + asked.of(limit.kind) <= limit.bound


@given(readings, amounts)
def test_a_call_passes_if_and_only_if_every_enforced_limit_has_room(
    read: list[tuple[AppliedLimit, Level]], asked: Amounts
) -> None:
    decision = decide([limit for limit, _ in read], [level for _, level in read], asked)

    assert (decision.refusal is None) == all(has_room(limit, level, asked) for limit, level in read if limit.enforced)
    assert len(decision.shadowed) == sum(
        not has_room(limit, level, asked) for limit, level in read if not limit.enforced
    )


@given(readings, amounts, st.randoms(use_true_random=False))
def test_the_order_of_limits_is_irrelevant(
    read: list[tuple[AppliedLimit, Level]], asked: Amounts, random: st.DataObject
) -> None:
    shuffled = list(read)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis hands out a random.Random

    first = decide([limit for limit, _ in read], [level for _, level in read], asked).refusal
    second = decide([limit for limit, _ in shuffled], [level for _, level in shuffled], asked).refusal

    assert (first is None) == (second is None)
    if first and second:
        assert (first.denial, first.limit.window_end_ms) == (second.denial, second.limit.window_end_ms)


@given(readings, amounts, st.lists(levels, min_size=6, max_size=6), amounts)
def test_more_use_or_a_larger_call_never_turns_a_refusal_into_a_pass(
    read: list[tuple[AppliedLimit, Level]], asked: Amounts, more: list[Level], larger: Amounts
) -> None:
    applied = [limit for limit, _ in read]
    refused = decide(applied, [level for _, level in read], asked).refusal is not None
    used = [
        Level(level.settled + extra.settled, level.reserved + extra.reserved, level.doubt + extra.doubt)
        for (_, level), extra in zip(read, more, strict=False)
    ]
    sum_asked = Amounts(
        asked.cost_nano_usd + larger.cost_nano_usd,
        asked.input_tokens + larger.input_tokens,
        asked.output_tokens + larger.output_tokens,
    )

    if refused:
        assert decide(applied, used, asked).refusal is not None
        assert decide(applied, [level for _, level in read], sum_asked).refusal is not None


@given(limits(), levels, amounts)
def test_a_limit_of_zero_blocks_every_call_that_takes_something_in_every_scope(
    limit: AppliedLimit, level: Level, asked: Amounts
) -> None:
    blocked = decide([limit._replace(bound=0, enforced=True)], [level], asked).refusal

    if asked.of(limit.kind) > 0:
        assert blocked is not None
        of_one_call = limit.kind is LimitKind.REQUEST_COST
        assert blocked.denial is (Denial.REQUEST_COST_LIMIT if of_one_call else Denial.BUDGET_EXHAUSTED)


@given(limits(), levels, amounts)
def test_the_reason_follows_from_the_figures(limit: AppliedLimit, level: Level, asked: Amounts) -> None:
    refusal = decide([limit._replace(enforced=True)], [level], asked).refusal
    if refusal is None:
        return
    held = asked.of(limit.kind)
    used = level.settled + (level.reserved if limit.kind is LimitKind.REQUESTS else 0)
    alone = fits(used, 0, level.doubt, held, limit.bound)

    if refusal.denial is Denial.RESERVATION_CONTENTION:
        assert alone
        assert not limit.is_rate
    if refusal.denial is Denial.REQUEST_EXCEEDS_REMAINING_BUDGET:
        assert not alone
        assert held > limit.bound - used - level.doubt
    if refusal.denial is Denial.RATE_LIMITED:
        assert limit.is_rate
        assert held <= limit.bound
    if refusal.denial is Denial.BUDGET_EXHAUSTED:
        assert used + level.doubt >= limit.bound
    assert refusal.frees_up == alone
