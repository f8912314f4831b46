from __future__ import annotations

from dataclasses import replace

import pytest

from services.kernel.dialect import Dialect
from services.kernel.limit_kind import LimitKind
from services.kernel.scope import Dimension
from services.kernel.window import WindowUnit
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.domain.admission.unmeasured import Guide
from services.quota.domain.counters.counter import Level
from services.quota.domain.counters.settlement import Settlement
from services.quota.domain.directory import snapshot as directory_snapshot
from services.quota.domain.directory.directory import Directory
from services.quota.domain.policies.denial import Denial, Deny
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.policy import Match, Mode, QuotaPolicy
from services.quota.domain.routing.plan import PlanSnapshot, PriceSnapshot
from services.quota.usecases.admit import Admitted
from tests.worlds.quota import ADA, CENT, CENT_FACTS, PLAN, PRICES, SECRET, World, counting, spend


def test_a_call_without_policies_is_admitted_and_reserved() -> None:
    world = World()

    admitted = world.let()

    assert admitted.tightest is None
    assert admitted.reservation.holds == ()
    assert [attempt.fit.target.name for attempt in admitted.chain] == ["lab/dear"]
    assert admitted.chain[0].output_cap_tokens is None
    assert world.counters.open_count() == 1


def test_exactly_as_many_calls_pass_as_the_limit_has_room_for() -> None:
    world = World((spend("budget", 3),))

    outcomes = [world.ask() for _ in range(4)]

    assert [isinstance(outcome, Admitted) for outcome in outcomes] == [True, True, True, False]
    assert world.level("budget") == (0, 3 * CENT)


def test_a_refused_call_reserves_in_no_limit_at_all() -> None:
    world = World((spend("roomy", 100), spend("full", 0), counting("calls", LimitKind.REQUESTS, 10)))

    world.refused()

    assert list(world.counters.counters_at(world.clock.now_ms())) == []
    assert world.counters.open_count() == 0


def test_requests_in_flight_are_used_up_and_nobody_is_told_to_wait_for_them() -> None:
    world = World((counting("calls", LimitKind.REQUESTS, 1),))
    world.let()

    deny = world.refused()

    assert deny.denial is Denial.BUDGET_EXHAUSTED
    assert not deny.denial.transient
    assert deny.retry_after_ms is None
    assert (deny.limit, deny.used, deny.reserved, deny.requested) == (1, 1, 0, 1)


def test_a_limit_that_in_flight_calls_fill_is_contention_with_a_short_wait() -> None:
    world = World((spend("budget", 1),))
    world.let()

    deny = world.refused()

    assert deny.denial is Denial.RESERVATION_CONTENTION
    assert deny.denial.transient
    assert deny.retry_after_ms == 250
    assert (deny.policy, deny.scope, deny.limit_kind) == ("budget", "organization", LimitKind.SPEND)
    # The least of it: 1 000 tokens in and 64 out.
    assert (deny.limit, deny.used, deny.reserved, deny.requested) == (CENT, 0, CENT, 1_576_000)


def test_the_wait_for_contention_is_twice_the_p95_of_the_settlement_lag() -> None:
    world = World((spend("budget", 1),))
    world.lag.record([1_000] * 100)
    world.let()

    assert world.refused().retry_after_ms == 2_000


def test_a_limit_that_is_settled_full_is_exhausted_and_nobody_should_wait() -> None:
    world = World((spend("budget", 1),))
    world.settle(world.let(), CENT)

    deny = world.refused()

    assert deny.denial is Denial.BUDGET_EXHAUSTED
    assert not deny.denial.transient
    assert deny.retry_after_ms is None
    assert deny.window_start_ms < world.clock.now_ms() < deny.resets_at_ms


def test_a_call_that_is_more_than_what_is_left_says_so_even_with_nothing_in_flight() -> None:
    world = World((spend("budget", 1),))
    world.settle(world.let(), CENT - 1_200_000, tokens=(100, 100))

    deny = world.refused()

    assert deny.denial is Denial.REQUEST_EXCEEDS_REMAINING_BUDGET
    assert deny.max_affordable_output_tokens == 22
    assert isinstance(world.ask(facts=RequestFacts(1_000, max_output_tokens=22)), Admitted)


def test_a_rest_that_does_not_cover_what_such_a_call_usually_takes_is_exhausted() -> None:
    world = World((spend("budget", 1),))
    world.settle(world.let(), CENT // 2, tokens=(1_000, 1_000))

    assert world.refused().denial is Denial.BUDGET_EXHAUSTED


def test_near_the_limit_a_call_goes_without_a_second_target_rather_than_not_at_all() -> None:
    world = World((spend("budget", 2),))
    whole, head = world.let("chained"), world.let("chained", RequestFacts(850, max_output_tokens=850))

    assert whole.reservation.chain[:1] == head.reservation.chain
    assert len(whole.reservation.chain) > len(head.reservation.chain) == 1


def test_raising_the_limit_lets_the_next_call_pass() -> None:
    world = World((spend("budget", 1),))
    world.settle(world.let(), CENT)
    world.refused()

    world.live.set_directory(Directory("acme", (), (spend("budget", 2),), (world.key,)))

    assert world.let().tightest is not None
    assert world.level("budget") == (CENT, CENT)


def test_requests_per_minute_are_a_rate_limit_that_resets_with_the_minute() -> None:
    world = World((counting("rate", LimitKind.REQUESTS, 1, WindowUnit.MINUTE),))
    world.let()

    deny = world.refused()

    assert deny.denial is Denial.RATE_LIMITED
    assert deny.retry_after_ms == deny.resets_at_ms - world.clock.now_ms()

    world.clock.advance(deny.retry_after_ms)
    world.let()


def test_the_first_call_of_a_new_window_passes_with_no_job_running() -> None:
    world = World((spend("budget", 1, WindowUnit.DAY),))
    world.settle(world.let(), CENT)
    resets_at_ms = world.refused().resets_at_ms

    world.clock.advance(resets_at_ms - world.clock.now_ms() - 1)
    world.refused()
    world.clock.advance(1)

    world.let()


def test_a_call_is_settled_in_the_window_of_its_admission() -> None:
    world = World((spend("budget", 5, WindowUnit.DAY),))
    admitted = world.let()
    world.clock.advance(86_400_000)

    world.settle(admitted, CENT)

    assert world.level("budget") == (0, 0)
    (level,) = world.counters.levels([admitted.reservation.holds[0].counter])
    assert level == Level(CENT, 0)


@pytest.mark.parametrize(
    ("changes", "denial"),
    [
        ({"disabled": True}, Denial.DISABLED_KEY),
        ({"expire_at_ms": 1}, Denial.EXPIRED_KEY),
        ({"models": ("other",)}, Denial.MODEL_NOT_ALLOWED),
        ({"digest": None}, Denial.INVALID_KEY),
    ],
)
def test_a_key_that_does_not_work_is_refused_for_its_own_reason(changes: dict[str, object], denial: Denial) -> None:
    world = World()
    world.change_key(**changes)

    assert world.refused().denial is denial


def test_no_key_and_an_unknown_key_are_told_apart() -> None:
    world = World()

    assert world.ask(credential="") == Deny(Denial.MISSING_KEY)
    assert world.ask(credential="nobody-has-this-secret") == Deny(Denial.INVALID_KEY)


def test_a_mistyped_key_of_ours_is_told_to_be_mistyped() -> None:
    outcome = World().ask(credential="spg_live_" + "a" * 38)

    assert isinstance(outcome, Deny)
    assert "checksum" in outcome.detail


def test_unknown_models_are_refused_and_push_out_nothing_that_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_snapshot, "MAX_REMEMBERED", 2)
    world = World((spend("budget", 1),))

    def limits() -> object:
        return world.live.snapshot.directory.limits_for(ADA, "dear", world.clock.now_ms())

    remembered = limits()
    for number in range(3):
        assert world.refused(f"no-such-model-{number}").denial is Denial.MODEL_NOT_FOUND
    assert limits() is remembered


def test_a_model_whose_provider_lacks_its_credential_exists_and_says_what_is_missing() -> None:
    deny = World((spend("budget", 100),)).refused("keyless")

    assert (deny.denial, deny.denial.transient) == (Denial.UPSTREAM_UNAVAILABLE, True)
    assert deny.detail == "the credential of provider anthropic is missing"
    assert deny.retry_after_ms is not None


def test_a_model_without_a_face_in_the_clients_dialect_has_no_fit_target() -> None:
    world = World()

    outcome = world.ask("claude")

    assert isinstance(outcome, Deny)
    assert outcome.denial is Denial.NO_FIT_TARGET
    assert isinstance(world.ask("claude", dialect=Dialect.ANTHROPIC), Admitted)


def test_stored_input_without_a_known_context_window_cannot_be_bounded() -> None:
    world = World((spend("budget", 100_000),))
    targets = {name: replace(each, context_window_tokens=0) for name, each in PLAN.targets.items()}
    world.live.set_plan(replace(PLAN, targets=targets))

    deny = world.refused(facts=replace(CENT_FACTS, features=frozenset({"stored_input"})))

    assert deny.denial is Denial.NO_FIT_TARGET
    assert world.let()


def test_without_a_plan_prices_or_room_on_disk_nothing_is_decided() -> None:
    world = World((spend("budget", 100),))
    world.live.set_prices(PriceSnapshot(""))
    assert world.refused().denial is Denial.POLICY_UNAVAILABLE

    world.live.set_prices(PRICES)
    world.disk.low = True
    assert world.refused().denial is Denial.POLICY_UNAVAILABLE

    world.disk.low = False
    assert world.let()
    world.live.set_plan(PlanSnapshot(""))
    deny = world.refused()
    assert deny.denial is Denial.POLICY_UNAVAILABLE
    assert deny.retry_after_ms == 1_000


def test_a_chain_holds_what_all_of_its_attempts_can_take() -> None:
    world = World((spend("budget", 100),))

    admitted = world.let("chained")

    assert admitted.reservation.chain == ("lab/dear", "lab/cheap")
    assert admitted.reservation.holds[0].held == CENT + CENT // 10


def test_at_its_threshold_the_cheaper_tier_serves_and_the_dearer_target_is_gone() -> None:
    world = World((spend("budget", 10),))
    world.settle(world.let("tiered"), CENT * 75 // 10)

    admitted = world.let("tiered")

    assert admitted.downgraded
    assert admitted.admission.tier.from_basis_points == 7_500
    assert admitted.reservation.chain == ("lab/cheap",)


def test_before_a_burst_is_refused_the_cheaper_tier_is_tried() -> None:
    world = World((spend("budget", 1),))

    first, second = (
        world.let("tiered", replace(CENT_FACTS, body_bytes=900)),
        world.let("tiered", RequestFacts(100, max_output_tokens=90)),
    )

    assert not first.downgraded
    assert second.downgraded
    assert world.refused("tiered").denial is Denial.RESERVATION_CONTENTION


def test_a_shadow_policy_counts_and_reports_but_refuses_nothing() -> None:
    world = World((replace(spend("watch", 1), mode=Mode.SHADOW),))
    world.settle(world.let(), CENT)

    admitted = world.let()

    assert [refusal.denial for refusal in admitted.shadowed] == [Denial.BUDGET_EXHAUSTED]
    assert admitted.tightest is None
    assert world.level("watch") == (CENT, CENT)


def test_a_disabled_policy_neither_counts_nor_refuses() -> None:
    world = World((replace(spend("off", 0), mode=Mode.DISABLED),))

    assert world.let().reservation.holds == ()


def test_each_user_has_a_counter_and_all_keys_without_a_user_count_as_one() -> None:
    policy = replace(spend("every-user", 1, match=Match(environment="prod")), each=Dimension.USER)
    world = World((policy,))

    assert world.let().reservation.holds[0].counter.scope == "environment=prod,user=ada@example.com"

    world.change_key(attribution=replace(world.key.attribution, user=""))
    assert world.let().reservation.holds[0].counter.scope == "environment=prod,user=-"
    assert world.refused().denial is Denial.RESERVATION_CONTENTION


def test_the_output_that_was_reserved_is_written_into_the_request() -> None:
    world = World((spend("budget", 10_000),))

    unbounded = world.let(facts=RequestFacts(1_000))
    absurd = world.let(facts=RequestFacts(1_000, max_output_tokens=999_999_999))
    modest = world.let(facts=RequestFacts(1_000, max_output_tokens=100))

    assert unbounded.chain[0].output_cap_tokens == 4_096
    assert absurd.chain[0].output_cap_tokens == 4_096
    assert modest.chain[0].output_cap_tokens is None
    assert unbounded.reservation.holds == absurd.reservation.holds


def test_limits_on_requests_alone_leave_the_request_as_it_is() -> None:
    world = World((counting("calls", LimitKind.REQUESTS, 5),))

    assert world.let(facts=RequestFacts(1_000)).chain[0].output_cap_tokens is None


def test_the_usage_chunk_is_stripped_unless_the_client_asked_for_it() -> None:
    world = World()

    assert world.let(facts=RequestFacts(1_000, stream=True)).strip_usage
    assert not world.let(facts=RequestFacts(1_000, stream=True, include_usage=True)).strip_usage
    assert not world.let(facts=RequestFacts(1_000)).strip_usage


def test_an_unmeasured_call_is_booked_at_its_bound_until_its_size_says_more() -> None:
    world = World()
    before = world.let().reservation
    world.settle(world.let(), CENT, tokens=(400, 40))

    after = world.let().reservation
    longer = world.let(facts=RequestFacts(10_000)).reservation

    assert (before.expected_input_tokens, before.expected_output_tokens) == (1_000, 1_000)
    assert (after.expected_input_tokens, after.expected_output_tokens) == (400, 40)
    assert longer.expected_input_tokens == 4_144


def test_a_call_that_was_estimated_teaches_nothing() -> None:
    world = World()
    world.settle_all([Settlement(world.let().reservation.id, CENT, 1, 1, world.clock.now_ms(), reported=False)], 0)

    assert world.expectations.guide("key_ada", "dear") == Guide(None, None, None)


def test_a_reservation_says_whose_it_is_and_how_it_can_end() -> None:
    world = World((spend("budget", 5),))

    reservation = world.let(request_id="9f8e").reservation

    assert reservation.request_id == "9f8e"
    assert reservation.attribution == world.key.attribution
    assert reservation.created_at_ms == world.clock.now_ms()
    assert world.release.by_id(reservation.id)
    assert not world.release.by_id(reservation.id)
    assert world.level("budget") == (0, 0)


def test_a_limit_of_zero_blocks_whatever_it_counts() -> None:
    for kind in set(LimitKind) - {LimitKind.REQUEST_COST, LimitKind.BURN_RATE}:
        for per in set(WindowUnit) - {WindowUnit.RUN}:
            world = World((QuotaPolicy("none", Match(), (Limit(kind, 0, per, rolling_ms=60_000),)),))
            assert world.refused().denial is Denial.BUDGET_EXHAUSTED, (kind, per)


def test_a_secret_never_shows_in_a_refusal() -> None:
    outcome = World().ask(credential=SECRET + "x")

    assert SECRET not in repr(outcome)
