from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from services.kernel.errors import Unavailable
from services.kernel.limit_kind import LimitKind
from services.kernel.window import WindowUnit
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.reservation import Reservation
from services.quota.domain.policies.denial import Denial
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.policy import Match, Mode, QuotaPolicy, Threshold, ThresholdAction
from services.quota.domain.routing.plan import PriceSnapshot
from services.quota.ports.counters import Choose, StoreUnreachable, T
from tests.worlds.memory_counters import MemoryCounters
from tests.worlds.quota import CENT, CENT_FACTS, PRICES, World, counting, free, spend

PROBLEM = "the counter store does not answer"


class LostCounters(MemoryCounters):
    """Counters that can be put out of reach."""

    problem: Unavailable | None = StoreUnreachable(PROBLEM)

    def reserve(self, counters: Sequence[CounterKey], choose: Choose[T]) -> T:
        if self.problem is not None:
            raise self.problem
        return super().reserve(counters, choose)


def allowing(name: str, cents: int, *, budget: int = 1_000, match: Match | None = None) -> QuotaPolicy:
    return replace(spend(name, budget, match=match), allowance_nano_usd=cents * CENT)


def lost(*policies: QuotaPolicy, quotas: int = 1) -> World:
    return World(policies, counters=LostCounters(), quotas=quotas)


def kept(world: World) -> list[Reservation]:
    found: list[Reservation] = []
    world.allowances.put_back(found.extend)
    return found


def served(world: World, calls: int, model: str = "dear") -> int:
    return sum(not hasattr(world.ask(model), "denial") for _ in range(calls))


def assert_unavailable(world: World, model: str = "dear", facts: RequestFacts = CENT_FACTS) -> None:
    deny = world.refused(model, facts)
    assert (deny.denial, deny.detail, deny.retry_after_ms) == (Denial.POLICY_UNAVAILABLE, PROBLEM, 1_000)
    assert deny.limit_statuses == ()


def test_calls_go_on_until_the_allowance_is_used_and_are_unavailable_then() -> None:
    world = lost(allowing("team", 3))
    assert served(world, 5) == 3
    assert_unavailable(world)


def test_without_an_allowance_every_call_is_refused() -> None:
    world = lost(spend("team", 100))
    assert_unavailable(world)
    assert kept(world) == []


def test_one_policy_that_denies_refuses_for_all_of_them() -> None:
    world = lost(allowing("team", 3), spend("everybody", 100))
    assert_unavailable(world)


def test_a_policy_that_only_watches_denies_nothing_and_counts_the_call_all_the_same() -> None:
    world = lost(allowing("team", 3), replace(spend("watching", 1), mode=Mode.SHADOW))
    world.let()
    (reservation,) = kept(world)
    assert [hold.counter.policy for hold in reservation.holds] == ["team", "watching"]


def test_a_call_that_no_policy_applies_to_is_refused() -> None:
    assert_unavailable(lost())
    assert_unavailable(lost(allowing("red", 3, match=Match(team="red"))))


def test_a_call_takes_from_all_of_its_allowances_or_from_none() -> None:
    world = lost(allowing("roomy", 9), allowing("tight", 2), allowing("other", 9, match=Match(model="cheap")))
    assert served(world, 5) == 2
    assert world.allowances.taken("roomy") == world.allowances.taken("tight") == 2 * CENT
    assert world.allowances.taken("other") == 0


def test_a_quota_uses_its_share_alone() -> None:
    world = lost(allowing("team", 6), quotas=2)
    assert served(world, 9) == 3


def test_the_next_day_has_an_allowance_of_its_own() -> None:
    world = lost(allowing("team", 1))
    assert served(world, 2) == 1
    world.clock.advance(86_400_000)
    assert served(world, 2) == 1


def test_what_was_taken_stays_taken_when_the_counters_are_back() -> None:
    world = lost(allowing("team", 2))
    assert served(world, 3) == 2
    assert isinstance(world.counters, LostCounters)
    world.counters.problem = None
    assert not world.let().without_counters
    world.counters.problem = StoreUnreachable(PROBLEM)
    assert_unavailable(world)


def test_a_chain_takes_what_all_of_its_attempts_can_cost() -> None:
    world = lost(allowing("team", 2))
    admitted = world.let("chained")
    assert [attempt.fit.target.name for attempt in admitted.chain] == ["lab/dear", "lab/cheap"]
    assert world.allowances.taken("team") == CENT + CENT // 10


def test_what_an_allowance_has_no_room_for_is_cut_as_near_any_other_limit() -> None:
    world = lost(allowing("team", 1))
    admitted = world.let(facts=RequestFacts(body_bytes=1_000, max_output_tokens=None))
    assert admitted.output_cap_tokens == 1_000
    assert admitted.chain[0].output_cap_tokens == 1_000
    assert world.allowances.taken("team") == CENT


def test_the_output_is_bounded_although_no_limit_of_the_policy_counts_tokens() -> None:
    world = lost(replace(counting("calls", LimitKind.REQUESTS, 10), allowance_nano_usd=100 * CENT))
    admitted = world.let(facts=RequestFacts(body_bytes=1_000, max_output_tokens=None))
    assert admitted.chain[0].output_cap_tokens == 4_096
    assert world.allowances.taken("calls") == 1_000 * 1_000 + 4_096 * 9_000


def test_a_call_of_unknown_cost_is_refused_although_its_policy_lets_it_through_else() -> None:
    world = lost(replace(counting("calls", LimitKind.REQUESTS, 10), allowance_nano_usd=CENT))
    assert_unavailable(world, "unpriced")
    world.live.set_prices(PriceSnapshot(""))
    assert_unavailable(world)


def test_a_free_call_takes_nothing() -> None:
    world = lost(allowing("team", 1))
    world.let()
    world.live.set_prices(PriceSnapshot("prices-2", {**PRICES.prices, "lab/dear": free()}))
    world.let()
    assert world.allowances.taken("team") == CENT


def test_the_bound_on_the_cost_of_one_call_still_holds_and_says_so() -> None:
    limits = (Limit(LimitKind.REQUEST_COST, CENT // 2, WindowUnit.LIFETIME), spend("", 9).limits[0])
    world = lost(QuotaPolicy("team", Match(), limits, allowance_nano_usd=9 * CENT))
    deny = world.refused()
    assert (deny.denial, deny.limit, deny.requested, deny.limit_statuses) == (
        Denial.REQUEST_COST_LIMIT,
        CENT // 2,
        CENT,
        (),
    )


def test_a_limit_of_zero_still_blocks() -> None:
    assert_unavailable(lost(allowing("team", 9, budget=0)))


def test_what_remains_of_the_limits_is_unknown_and_not_reported() -> None:
    admitted = lost(allowing("team", 9)).let()
    assert admitted.without_counters
    assert admitted.limit_statuses == ()
    assert admitted.tightest is None


def test_the_first_tier_serves_since_the_used_part_of_the_budget_is_unknown() -> None:
    policy = replace(allowing("team", 9), thresholds=(Threshold(5_000, (), ThresholdAction.DEGRADE),))
    admitted = lost(policy).let("tiered")
    assert not admitted.downgraded


def test_what_is_kept_for_the_counters_holds_the_limits_and_not_the_allowances() -> None:
    world = lost(allowing("team", 9), replace(counting("calls", LimitKind.REQUESTS, 3), allowance_nano_usd=CENT))
    admitted = world.let()
    (reservation,) = kept(world)
    assert reservation.id == admitted.reservation.id
    assert [(hold.counter.limit_id, hold.held) for hold in reservation.holds] == [
        ("spend/month/UTC", CENT),
        ("requests/day/UTC", 1),
    ]


def test_a_store_that_answers_and_cannot_decide_is_no_reason_to_go_without_it() -> None:
    world = lost(allowing("team", 9))
    assert isinstance(world.counters, LostCounters)
    world.counters.problem = Unavailable("too many calls at once ask for the same counters")
    assert world.refused().denial is Denial.POLICY_UNAVAILABLE
    assert kept(world) == []
