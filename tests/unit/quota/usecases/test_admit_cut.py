"""Near a limit a call is cut to the room that is left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.kernel.limit_kind import LimitKind
from services.kernel.scope import Dimension
from services.quota.domain.admission.learning import UsageSample
from services.quota.domain.admission.request_facts import RequestFacts, Tokens
from services.quota.domain.policies.denial import Denial
from services.quota.domain.policies.policy import Match, Mode
from tests.worlds.quota import CENT, World, counting, spend

# At `DEAR` 1 000 bytes hold a tenth of a cent, and an output token 9 000 nano-USD.
ASK = RequestFacts(body_bytes=1_000)
CEILING = 4_096


def typical(world: World, output_tokens: int, model: str = "dear") -> None:
    """Teaches what calls for a model take."""
    world.expectations.learn([UsageSample("key_ada", model, Tokens(100, output_tokens))])


def test_far_from_the_limit_the_ceiling_is_reserved_and_nothing_is_cut() -> None:
    admitted = World((spend("budget", 100),)).let(facts=ASK)

    assert admitted.output_cap_tokens is None
    assert admitted.chain[0].output_cap_tokens == CEILING
    assert admitted.reservation.output_cap_tokens == 0


def test_near_the_limit_a_call_gets_all_the_output_that_there_is_room_for() -> None:
    world = World((spend("budget", 1),))

    admitted = world.let(facts=ASK)

    assert admitted.output_cap_tokens == admitted.chain[0].output_cap_tokens == 1_000
    assert admitted.reservation.output_cap_tokens == 1_000
    assert world.level("budget") == (0, CENT)


@pytest.mark.parametrize("kind", [LimitKind.TOKENS, LimitKind.OUTPUT_TOKENS])
def test_limits_on_tokens_cut_like_limits_on_money(kind: LimitKind) -> None:
    bound = 1_500 if kind is LimitKind.TOKENS else 500

    assert World((counting("tokens", kind, bound),)).let(facts=ASK).output_cap_tokens == 500


def test_of_several_limits_the_one_with_the_least_room_cuts() -> None:
    policies = (spend("budget", 1), counting("tokens", LimitKind.OUTPUT_TOKENS, 300), spend("roomy", 1_000))

    assert World(policies).let(facts=ASK).output_cap_tokens == 300


def test_limits_that_output_does_not_count_in_cut_nothing() -> None:
    calls, input_ = counting("calls", LimitKind.REQUESTS, 1), counting("input", LimitKind.INPUT_TOKENS, 1_000)

    admitted = World((calls, input_)).let(facts=ASK)

    assert (admitted.output_cap_tokens, admitted.chain[0].output_cap_tokens) == (None, CEILING)
    assert World((calls,)).let(facts=ASK).chain[0].output_cap_tokens is None
    assert World((counting("calls", LimitKind.REQUESTS, 0),)).refused(facts=ASK).denial is Denial.BUDGET_EXHAUSTED


def test_a_shadow_limit_cuts_nothing() -> None:
    admitted = World((replace(spend("watch", 1), mode=Mode.SHADOW),)).let(facts=ASK)

    assert admitted.output_cap_tokens is None
    assert len(admitted.shadowed) == 1


def test_a_client_that_asks_for_more_than_there_is_gets_less_and_one_that_asks_for_less_is_left_alone() -> None:
    for asked, cap in ((1_001, 1_000), (1_000, None), (10, None)):
        admitted = World((spend("budget", 1),)).let(facts=replace(ASK, max_output_tokens=asked))
        assert (admitted.output_cap_tokens, admitted.chain[0].output_cap_tokens) == (cap, cap)


def test_the_room_is_shared_among_the_choices_of_a_call() -> None:
    admitted = World((spend("budget", 1),)).let(facts=replace(ASK, choices=4))

    assert admitted.output_cap_tokens == 250
    assert admitted.reservation.output_cap_tokens == 1_000


def test_every_attempt_of_a_chain_is_cut_alike() -> None:
    world = World((spend("budget", 1),))

    admitted = world.let("chained", ASK)

    # 1 100 000 nano-USD for the input of both, then 9 900 for each token.
    assert [attempt.output_cap_tokens for attempt in admitted.chain] == [898, 898]
    assert world.level("budget")[1] <= CENT


def test_a_chain_that_does_not_fit_with_the_least_goes_on_with_its_head() -> None:
    world = World((spend("budget", 1),))
    typical(world, 950, "chained")

    admitted = world.let("chained", ASK)

    assert admitted.reservation.chain == ("lab/dear",)
    assert admitted.output_cap_tokens == 1_000


def test_a_call_that_fits_in_a_cheaper_tier_is_not_cut() -> None:
    admitted = World((spend("budget", 1),)).let("tiered", ASK)

    assert admitted.reservation.chain == ("lab/cheap",)
    assert admitted.output_cap_tokens is None


def test_nothing_is_served_below_what_such_calls_usually_take() -> None:
    world = World((spend("budget", 1),))
    typical(world, 1_000)
    assert world.let(facts=ASK).output_cap_tokens == 1_000

    world = World((spend("budget", 1),))
    typical(world, 1_001)
    assert world.refused(facts=ASK).max_affordable_output_tokens == 1_000


def test_an_unlearned_call_accepts_64_tokens_and_no_fewer() -> None:
    assert World((counting("tokens", LimitKind.OUTPUT_TOKENS, 64),)).let(facts=ASK).output_cap_tokens == 64
    deny = World((counting("tokens", LimitKind.OUTPUT_TOKENS, 63),)).refused(facts=ASK)
    assert deny.max_affordable_output_tokens == 63


def test_a_cap_stays_above_the_thinking_budget() -> None:
    thinks = replace(ASK, thinking_tokens=900)

    assert World((spend("budget", 1),)).let(facts=thinks).output_cap_tokens == 1_000
    deny = World((spend("budget", 1),)).refused(facts=replace(thinks, thinking_tokens=937))
    assert deny.denial is Denial.REQUEST_EXCEEDS_REMAINING_BUDGET


def test_a_call_whose_thinking_budget_fills_its_bound_is_cut_as_a_whole() -> None:
    whole = replace(ASK, max_output_tokens=32_000, thinking_tokens=31_999)
    assert World((counting("tokens", LimitKind.OUTPUT_TOKENS, 1_500),)).let(facts=whole).output_cap_tokens == 1_500

    least = 64 + 1_024
    assert World((counting("tokens", LimitKind.OUTPUT_TOKENS, least),)).let(facts=whole).output_cap_tokens == least
    deny = World((counting("tokens", LimitKind.OUTPUT_TOKENS, least - 1),)).refused(facts=whole)
    assert deny.denial is Denial.REQUEST_EXCEEDS_REMAINING_BUDGET


def test_without_contention_a_call_takes_all_and_after_it_calls_leave_room_for_each_other() -> None:
    world = World((spend("budget", 2),))
    typical(world, 100)
    first = world.let(facts=ASK)
    assert first.output_cap_tokens == 2_111

    assert world.refused(facts=ASK).denial is Denial.RESERVATION_CONTENTION
    world.settle(first, CENT // 10, tokens=(1_000, 100))

    assert [world.let(facts=ASK).output_cap_tokens for _ in range(6)] == [200] * 6
    # The rest is less than twice the typical use, but enough.
    assert world.let(facts=ASK).output_cap_tokens == 133


def test_contention_is_over_ten_seconds_after_the_last_refusal() -> None:
    world = World((spend("budget", 1),))
    typical(world, 100)
    held = world.let(facts=ASK)
    world.refused(facts=ASK)
    world.release.by_id(held.reservation.id)

    world.clock.advance(10_000)
    shared = world.let(facts=ASK)
    assert shared.output_cap_tokens == 200
    world.release.by_id(shared.reservation.id)

    world.clock.advance(1)
    assert world.let(facts=ASK).output_cap_tokens == 1_000


def test_contention_in_one_scope_is_none_of_the_others_business() -> None:
    world = World((replace(spend("each", 1, match=Match(team="data-science")), each=Dimension.MODEL),))
    typical(world, 100)
    typical(world, 100, "chained")
    held = world.let(facts=ASK)
    world.refused(facts=ASK)
    world.release.by_id(held.reservation.id)

    assert world.let("chained", ASK).output_cap_tokens == 898
    assert world.let(facts=ASK).output_cap_tokens == 200


def test_what_fits_but_for_calls_in_flight_is_contention_and_never_exhausted() -> None:
    world = World((spend("budget", 1),))
    typical(world, 950)
    world.let(facts=ASK)

    deny = world.refused(facts=ASK)

    assert deny.denial is Denial.RESERVATION_CONTENTION
    assert deny.max_affordable_output_tokens == 0


def test_a_call_that_used_up_its_cut_teaches_no_less_than_was_known() -> None:
    for output_tokens, learned in ((1_000, 2_000), (999, 1_875)):
        world = World((spend("budget", 1),))
        cut = world.let(facts=ASK)
        assert cut.output_cap_tokens == 1_000
        # Others have taught meanwhile that such calls take twice as much.
        typical(world, 2_000)
        world.settle(cut, 0, tokens=(100, output_tokens))
        assert world.expectations.get("key_ada", "dear") == Tokens(100, learned)
