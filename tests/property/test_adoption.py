"""Policies that change while calls run: what calls hold counts in the limits that apply to them, and only there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, consumes, invariant, multiple, rule

from services.kernel.limit_kind import LimitKind
from services.kernel.scope import Dimension
from services.kernel.settlement import Most
from services.kernel.window import WindowUnit
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.domain.counters.counter import Level
from services.quota.domain.counters.settlement import Settlement
from services.quota.domain.policies.denial import Deny
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.policy import Match, Mode, QuotaPolicy, Threshold
from services.quota.domain.policies.scope import policies_for
from services.quota.usecases.admit import Admitted
from tests.worlds.books import key_of
from tests.worlds.quota import CENT, World

KEYS = (key_of("a1", team="a", user="ada"), key_of("a2", team="a", user="eve"), key_of("b1", team="b", user="bob"))
SPEND = Limit(LimitKind.SPEND, 12 * CENT, WindowUnit.MONTH)
TOKENS = Limit(LimitKind.TOKENS, 12_000, WindowUnit.MONTH)
CALLS = Limit(LimitKind.CONCURRENCY, 6, WindowUnit.LIFETIME)
POLICIES = (
    QuotaPolicy("all", Match(), (SPEND,)),
    QuotaPolicy("everything", Match(), (SPEND,)),
    QuotaPolicy("team-a", Match(team="a"), (replace(SPEND, bound=6 * CENT), CALLS)),
    QuotaPolicy("only-a", Match(team="a"), (replace(SPEND, bound=6 * CENT), CALLS)),
    QuotaPolicy("users", Match(), (replace(SPEND, bound=5 * CENT), TOKENS), each=Dimension.USER),
    QuotaPolicy("models", Match(model="dear"), (TOKENS,), mode=Mode.SHADOW),
    QuotaPolicy("runs", Match(), (Limit(LimitKind.SPEND, 4 * CENT, WindowUnit.RUN),)),
    QuotaPolicy("rest", Match(), (SPEND,), default=True),
)


@dataclass
class Left:
    """The remains of a call that has ended."""

    call: Admitted
    doubt: int
    """In limits on spend."""
    counted_in: set[tuple[str, str, str]] = field(default_factory=set)
    """All limits on spend that ever applied to the call: a change of policies removes doubt from no counter."""


class Changes(RuleBasedStateMachine):
    """Calls that come and go while policies are added, taken away and renamed."""

    calls: Bundle[Admitted] = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.world = World(POLICIES[:1], key=KEYS[0])
        self.world.change_policies(POLICIES[:1], KEYS)
        self.open: dict[str, Admitted] = {}
        self.left: list[Left] = []

    @rule(
        target=calls,
        key=st.sampled_from(["a1", "a2", "b1"]),
        model=st.sampled_from(["dear", "tiered"]),
        run=st.sampled_from(["", "loop"]),
        output=st.integers(0, 1_500),
    )
    def ask(self, key: str, model: str, run: str, output: int) -> Admitted | MultipleResults[Admitted]:
        facts = RequestFacts(1_000, max_output_tokens=output)
        outcome = self.world.ask(model, facts, credential=key, run=run)
        if isinstance(outcome, Deny):
            return multiple()
        self.open[outcome.reservation.id] = outcome
        # Whatever the policies did meanwhile, no limit in force is exceeded.
        made = outcome.reservation
        limits = self.world.live.snapshot.directory.limits_for(
            made.attribution, made.model, self.world.clock.now_ms(), run
        )
        levels = limits.fold(self.world.counters.levels(limits.counters))
        for limit, level in zip(limits.limits, levels, strict=True):
            assert not limit.enforced or sum(level) <= limit.bound, (limit.counter, level)
        return outcome

    @rule(call=consumes(calls), part=st.fractions(0, 1), measured=st.booleans())
    def settle(self, call: Admitted, part: float, measured: bool) -> None:
        most = call.reservation.most
        assert most is not None
        cost = int(most.cost_nano_usd * part)
        now_ms = self.world.clock.now_ms()
        settlement = Settlement(
            call.reservation.id, cost, 0, 0, now_ms, measured, most=None if measured else Most(-1, -1, -1)
        )
        assert self.world.settle_all([settlement], 0).settled == (call.reservation.id,)
        del self.open[call.reservation.id]
        # A call without such a limit at its settlement leaves no doubt.
        if any(doubt.reservation.id == call.reservation.id for doubt in self.world.counters.doubts_after("", 999)):
            self.left.append(Left(call, most.cost_nano_usd - cost))

    @rule(call=consumes(calls))
    def release(self, call: Admitted) -> None:
        assert self.world.release.by_id(call.reservation.id)
        del self.open[call.reservation.id]

    @rule(chosen=st.sets(st.sampled_from(range(len(POLICIES)))))
    def change_policies(self, chosen: set[int]) -> None:
        self.world.change_policies(tuple(POLICIES[at] for at in sorted(chosen)), KEYS)

    @rule()
    def change_nothing(self) -> None:
        before = sorted(self.world.counters.counters_at(self.world.clock.now_ms()))
        self.world.change_policies(self.world.policies, KEYS)
        assert sorted(self.world.counters.counters_at(self.world.clock.now_ms())) == before

    @invariant()
    def what_is_held_is_what_calls_in_flight_can_take(self) -> None:
        expected: dict[tuple[str, str, str], int] = {}
        for call in self.open.values():
            for place, amount in self.amounts(call).items():
                expected[place] = expected.get(place, 0) + amount
        assert {place: level.reserved for place, level in self.levels().items() if level.reserved} == {
            place: amount for place, amount in expected.items() if amount
        }

    @invariant()
    def what_is_in_doubt_is_in_doubt_in_each_limit_on_spend_that_concerns_the_call(self) -> None:
        least: dict[tuple[str, str, str], int] = {}
        for left in self.left:
            for place in self.amounts(left.call):
                if place[1].startswith("spend"):
                    left.counted_in.add(place)
                    least[place] = least.get(place, 0) + left.doubt
        levels = self.levels()
        for place, doubt in least.items():
            most = sum(left.doubt for left in self.left if place in left.counted_in)
            assert doubt <= levels.get(place, Level(0, 0)).doubt <= most, place

    def amounts(self, call: Admitted) -> dict[tuple[str, str, str], int]:
        """What a call must hold under the policies in force: by policy, limit and scope."""
        made = call.reservation
        most = made.most
        assert most is not None
        found: dict[tuple[str, str, str], int] = {}
        for policy, scope in policies_for(self.world.policies, made.attribution, made.model):
            for limit in policy.limits:
                counted = scope
                if limit.per is WindowUnit.RUN:
                    if not made.run:
                        continue
                    counted = f"run={made.run}" if scope == "organization" else f"{scope},run={made.run}"
                amount = 1 if limit.kind is LimitKind.CONCURRENCY else most.of(limit.kind)
                found[policy.name, limit.limit_id, counted] = amount or 0
        return found

    def levels(self) -> dict[tuple[str, str, str], Level]:
        counters = self.world.counters.counters_at(self.world.clock.now_ms())
        return {(key.policy, key.limit_id, key.scope): level for key, _, level in counters}


TestChanges = Changes.TestCase
TestChanges.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


def test_a_policy_that_is_only_renamed_goes_on_where_it_was_and_tells_nothing_again() -> None:
    half = (Threshold(5_000, ("finance",)),)
    old = QuotaPolicy("old", Match(), (replace(SPEND, bound=4 * CENT),), thresholds=half)
    world = World((old,))
    first, second = world.let(), world.let()
    world.settle(first, CENT)
    assert [told.basis_points for told in world.settle(second, CENT).crossings] == [5_000]
    in_flight = world.let()
    told = world.counters.crossings_after(0, 9)[-1].sequence

    world.change_policies((replace(old, name="new"),))

    assert world.level("old") == (0, 0)
    assert world.level("new") == (2 * CENT, CENT)
    world.let()
    assert world.refused().policy == "new"
    world.settle(in_flight, CENT)
    assert world.counters.crossings_after(told, 9) == []
    assert world.level("new") == (3 * CENT, CENT)
