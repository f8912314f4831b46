"""Any interleaving of admissions and endings, measured or not, never exceeds a hard limit."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, consumes, invariant, multiple, rule

from services.kernel.limit_kind import LimitKind
from services.kernel.settlement import Most
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.domain.counters.doubt import all_of_it
from services.quota.domain.counters.settlement import Settlement
from services.quota.domain.policies.denial import Deny
from services.quota.domain.policies.limit_id import kind_of
from services.quota.usecases.admit import Admitted
from tests.worlds.quota import CENT, World, counting, spend

BUDGET = 20 * CENT
TOKENS = 25_000
REQUESTS = 30


class Budgets(RuleBasedStateMachine):
    """Calls are admitted, settled at most at what they hold, settled again and released, in any order."""

    open_calls: Bundle[Admitted] = Bundle("open_calls")
    ended_calls: Bundle[Admitted] = Bundle("ended_calls")

    def __init__(self) -> None:
        super().__init__()
        self.world = World(
            (
                spend("budget", 20),
                counting("tokens", LimitKind.TOKENS, TOKENS),
                counting("calls", LimitKind.REQUESTS, REQUESTS),
            )
        )
        self.booked = 0
        self.open = 0
        self.doubts: dict[str, int] = {}

    @rule(
        target=open_calls,
        body=st.integers(0, 3_000),
        output=st.integers(0, 3_000),
        model=st.sampled_from(["dear", "tiered", "chained"]),
    )
    def ask(self, body: int, output: int, model: str) -> Admitted | MultipleResults[Admitted]:
        outcome = self.world.ask(model, RequestFacts(body, max_output_tokens=output))
        if isinstance(outcome, Deny):
            assert outcome.used + outcome.reserved + outcome.doubt + outcome.requested > outcome.limit
            return multiple()
        self.open += 1
        return outcome

    @rule(target=ended_calls, call=consumes(open_calls), part=st.fractions(0, 1))
    def settle(self, call: Admitted, part: float) -> Admitted:
        held = {kind_of(hold.counter.limit_id): hold.held for hold in call.reservation.holds}
        cost = int(held[LimitKind.SPEND] * part)
        assert self.settled_now(call, cost, int(held[LimitKind.TOKENS] * part))
        self.booked += cost
        self.open -= 1
        return call

    @rule(target=ended_calls, call=consumes(open_calls), part=st.fractions(0, 1), most=st.none() | st.fractions(0, 1))
    def settle_in_doubt(self, call: Admitted, part: float, most: float | None) -> Admitted:
        held = {kind_of(hold.counter.limit_id): hold.held for hold in call.reservation.holds}
        spend, tokens = held[LimitKind.SPEND], held[LimitKind.TOKENS]
        bound = Most(-1, -1, -1) if most is None else Most(int(spend * most), int(tokens * most), 0)
        cost = int(spend * part)
        assert self.settled_now(call, cost, int(tokens * part), bound)
        self.doubts[call.reservation.id] = max(0, (spend if most is None else int(spend * most)) - cost)
        self.booked += cost
        self.open -= 1
        return call

    @rule(call=ended_calls)
    def learn_what_it_took(self, call: Admitted) -> None:
        assert not self.settled_now(call, 0, 0)
        self.doubts.pop(call.reservation.id, None)

    @rule(call=ended_calls)
    def clear(self, call: Admitted) -> None:
        cleared = self.world.counters.clear_doubts([call.reservation.id], all_of_it)
        spend = [hold.held for each in cleared for hold in each.reservation.holds if hold.counter.policy == "budget"]
        assert sum(spend) == self.doubts.pop(call.reservation.id, 0)

    @rule()
    def forget(self) -> None:
        self.world.counters.forget(self.world.clock.now_ms())

    @rule(target=ended_calls, call=consumes(open_calls))
    def release(self, call: Admitted) -> Admitted:
        assert self.world.release.by_id(call.reservation.id)
        self.open -= 1
        return call

    @rule(call=ended_calls)
    def end_again(self, call: Admitted) -> None:
        assert not self.settled_now(call, BUDGET, TOKENS, Most(-1, -1, -1))
        assert not self.world.release.by_id(call.reservation.id)

    def settled_now(self, call: Admitted, cost: int, tokens: int, most: Most | None = None) -> bool:
        ended_ms = self.world.clock.now_ms()
        settlement = Settlement(call.reservation.id, cost, tokens, 0, ended_ms, reported=most is None, most=most)
        return self.world.settle_all([settlement], 0).settled == (call.reservation.id,)

    @invariant()
    def no_limit_is_exceeded(self) -> None:
        for policy, bound in (("budget", BUDGET), ("tokens", TOKENS), ("calls", REQUESTS)):
            level = (*self.world.level(policy), self.world.doubt(policy))
            assert min(level) >= 0
            assert sum(level) <= bound

    @invariant()
    def what_is_settled_is_what_was_booked_and_nothing_is_held_for_nobody(self) -> None:
        settled, reserved = self.world.level("budget")
        assert settled == self.booked
        assert self.world.doubt("budget") == sum(self.doubts.values())
        assert self.world.counters.open_count() == self.open
        if not self.open:
            assert reserved == 0


TestBudgets = Budgets.TestCase
TestBudgets.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
