"""Whatever happened: a replay adds up to the nano-dollar, and what was admitted would be admitted again."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.kernel.dialect import Dialect
from services.kernel.endpoint import Operation
from services.kernel.limit_kind import LimitKind
from services.kernel.usage import Usage
from services.kernel.window import WindowUnit
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.domain.counters.settlement import Settlement
from services.quota.domain.policies.limit_id import kind_of
from services.quota.domain.policies.policy import QuotaPolicy
from services.quota.domain.replay.replay import PastCall
from services.quota.usecases.admit import Admitted
from tests.worlds.past_calls import START_MS, outcome, past, replay
from tests.worlds.quota import ADA, CENT, World, counting, spend

POLICIES = (
    spend("day", 12, WindowUnit.DAY),
    spend("month", 40),
    counting("tokens", LimitKind.TOKENS, 30_000),
    counting("rate", LimitKind.REQUESTS, 4, WindowUnit.MINUTE),
    counting("few", LimitKind.REQUESTS, 4),
    counting("at-once", LimitKind.CONCURRENCY, 3, WindowUnit.LIFETIME),
    counting("each", LimitKind.REQUEST_COST, 2 * CENT, WindowUnit.LIFETIME),
    replace(spend("strict", 60), refuses_unknown_members=True),
)


@st.composite
def histories(draw: st.DrawFn) -> list[PastCall]:
    """Calls in the order in which they began, of any length and cost."""
    calls, at_ms = [], 0
    for _ in range(draw(st.sampled_from([0, 1, 12, 30]))):
        at_ms += draw(st.sampled_from([0, 1, 900, 60_000, 86_400_000]))
        usage = Usage(draw(st.integers(0, 100_000)), draw(st.integers(0, 100_000)))
        call = past(at_ms, model=draw(st.sampled_from(["tiered", "tiered", "dear", "unpriced", "gone"])), usage=usage)
        cost = draw(st.none() | st.integers(0, 3 * CENT))
        changes: dict[str, Any] = {"cost_nano_usd": cost, "has_unknown_members": draw(st.booleans())}
        calls.append(call._replace(end_at_ms=call.began_at_ms + draw(st.integers(0, 5_000)), **changes))
    return calls


@given(histories(), st.lists(st.sampled_from(POLICIES), min_size=1, unique=True))
@settings(deadline=None, max_examples=100)
def test_saved_and_simulated_are_what_was_paid_to_the_nano_dollar(
    calls: list[PastCall], policies: list[QuotaPolicy]
) -> None:
    report = replay(calls, *policies)

    assert report.real_nano_usd == sum(call.cost_nano_usd or 0 for call in calls)
    assert report.simulated_nano_usd + report.saved_nano_usd == report.real_nano_usd
    assert sum(outcome(report)) == report.calls == len(calls)
    rules = (*report.limits.values(), *report.unknown_members.values())
    for tallies in (rules, report.callers.values()):
        assert sum(tally.saved_nano_usd for tally in tallies) == report.saved_nano_usd
        assert sum(tally.denied for tally in tallies) == report.denied
    for degraded in (report.limits.values(), report.callers.values()):
        assert sum(tally.degraded for tally in degraded) == report.degraded


@given(histories())
@settings(deadline=None)
def test_without_limits_nothing_changes(calls: list[PastCall]) -> None:
    report = replay(calls)

    assert outcome(report) == (len(calls), 0, 0)
    assert report.simulated_nano_usd == report.real_nano_usd


@given(st.integers(), st.lists(st.sampled_from(POLICIES), min_size=1, unique=True))
@settings(deadline=None, max_examples=60)
def test_the_policies_that_were_in_force_deny_none_of_the_calls_that_they_admitted(
    seed: int, policies: list[QuotaPolicy]
) -> None:
    assert replay(lived_through(seed, tuple(policies)), *policies).denied == 0


def lived_through(seed: int, policies: tuple[QuotaPolicy, ...]) -> list[PastCall]:
    """Calls that the living decision admitted under these policies, each with at most what it held."""
    chance, world = random.Random(seed), World(policies)
    world.clock.advance(START_MS - world.clock.now_ms())
    running: list[Admitted] = []
    history: list[PastCall] = []
    for _ in range(60):
        world.clock.advance(chance.choice([0, 1, 700, 20_000, 40_000_000]))
        if running and chance.random() < 0.45:
            history.append(settled(world, running.pop(chance.randrange(len(running))), chance))
        facts = RequestFacts(chance.randrange(1_500), max_output_tokens=chance.randrange(1_500))
        asked = world.ask(chance.choice(["dear", "tiered"]), facts)
        if isinstance(asked, Admitted):
            running.append(asked)
    history += [settled(world, each, chance) for each in running]
    return sorted(history, key=lambda call: call.began_at_ms)


def settled(world: World, admitted: Admitted, chance: random.Random) -> PastCall:
    """Ends a call, and books it."""
    reservation = admitted.reservation
    held = {kind_of(hold.counter.limit_id): hold.held for hold in reservation.holds}
    part = chance.randrange(101)
    cost = held.get(LimitKind.SPEND, CENT) * part // 100
    usage = Usage(0, held.get(LimitKind.TOKENS, 1_000) * part // 100)
    world.settle_all([Settlement(reservation.id, cost, 0, usage.output_tokens, world.clock.now_ms(), reported=True)], 0)
    return PastCall(
        id=reservation.id,
        began_at_ms=reservation.created_at_ms,
        end_at_ms=world.clock.now_ms(),
        attribution=ADA,
        model=reservation.model,
        served=reservation.chain[0],
        dialect=Dialect.OPENAI,
        operation=Operation.CHAT,
        run="",
        usage=usage,
        cost_nano_usd=cost,
        has_unknown_members=False,
    )
