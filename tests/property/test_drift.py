"""Whatever happens, after a comparison every counter says what the ledger's entries say."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, consumes, multiple, rule

from services.kernel.limit_kind import LimitKind
from services.kernel.scope import Dimension
from services.kernel.window import WindowUnit
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.domain.counters.settlement import Move
from services.quota.domain.policies.denial import Deny
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.policy import Match, Mode, QuotaPolicy
from services.quota.usecases.admit import Admitted
from tests.worlds.books import Books, key_of
from tests.worlds.quota import spend

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
PLENTY = 10**8
KEYS = (
    key_of("a1", team="a", user="ada"),
    key_of("a2", team="a", user="eve"),
    key_of("b1", team="b", user="", environment="dev"),
)
ROLLING = tuple(
    Limit(LimitKind.TOKENS, PLENTY, WindowUnit.ROLLING, rolling_ms=length_ms) for length_ms in (30 * MINUTE_MS, DAY_MS)
)
CALENDAR = tuple(
    Limit(kind, PLENTY, per, timezone)
    for kind, per, timezone in [
        (LimitKind.SPEND, WindowUnit.MONTH, "Asia/Kolkata"),
        (LimitKind.REQUESTS, WindowUnit.DAY, "America/St_Johns"),
        (LimitKind.OUTPUT_TOKENS, WindowUnit.HOUR, "UTC"),
        (LimitKind.REQUESTS, WindowUnit.MINUTE, "UTC"),
        (LimitKind.INPUT_TOKENS, WindowUnit.LIFETIME, "UTC"),
        (LimitKind.CONCURRENCY, WindowUnit.LIFETIME, "UTC"),
    ]
)
POLICIES = (
    spend("all", PLENTY),
    spend("team-a", PLENTY, WindowUnit.DAY, Match(team="a")),
    QuotaPolicy("calendar", Match(), CALENDAR),
    QuotaPolicy("rolling", Match(environment="prod"), ROLLING, each=Dimension.KEY),
    QuotaPolicy("users", Match(), (Limit(LimitKind.SPEND, PLENTY, WindowUnit.WEEK),), each=Dimension.USER),
    QuotaPolicy("runs", Match(), (Limit(LimitKind.SPEND, PLENTY, WindowUnit.RUN),), each=Dimension.TEAM),
    replace(spend("shadow", PLENTY, WindowUnit.DAY, Match(model="dear")), mode=Mode.SHADOW),
    replace(spend("default", PLENTY, WindowUnit.YEAR), default=True),
    replace(spend("off", PLENTY), mode=Mode.DISABLED),
    # The same as others by another name.
    spend("everything", PLENTY),
    QuotaPolicy("all-users", Match(), (Limit(LimitKind.SPEND, PLENTY, WindowUnit.WEEK),), each=Dimension.USER),
)


class Drift(RuleBasedStateMachine):
    """Calls, policies, clocks and counters that somebody tampers with."""

    calls: Bundle[tuple[Admitted, str]] = Bundle("calls")
    booked: Bundle[tuple[Admitted, str]] = Bundle("booked")

    def __init__(self) -> None:
        super().__init__()
        self.books = Books(POLICIES[:3], KEYS)
        self.asked = 0

    def teardown(self) -> None:
        self.books.close()

    @rule(
        target=calls,
        key=st.sampled_from(["a1", "a2", "b1"]),
        model=st.sampled_from(["dear", "tiered"]),
        run=st.sampled_from(["", "", "loop", "x,run=y"]),
    )
    def ask(self, key: str, model: str, run: str) -> tuple[Admitted, str] | MultipleResults[tuple[Admitted, str]]:
        self.asked += 1
        facts = RequestFacts(1_000, max_output_tokens=1_000)
        outcome = self.books.world.ask(model, facts, credential=key, request_id=f"request-{self.asked}", run=run)
        return multiple() if isinstance(outcome, Deny) else (outcome, run)

    @rule(
        target=booked,
        call=consumes(calls),
        output_tokens=st.integers(0, 900),
        priced=st.sampled_from([True] * 9 + [False]),
    )
    def book(self, call: tuple[Admitted, str], output_tokens: int, priced: bool) -> tuple[Admitted, str]:
        admitted, run = call
        served = "lab/dear" if priced else "lab/unpriced"
        self.books.book(admitted, run=run, served=served, output_tokens=output_tokens)
        return call

    @rule(call=booked)
    def book_again(self, call: tuple[Admitted, str]) -> None:
        self.books.book(call[0], run=call[1], output_tokens=1)

    @rule(call=calls)
    def release(self, call: tuple[Admitted, str]) -> None:
        """A released call may still be booked; then the ledger is right."""
        self.books.world.release.by_id(call[0].reservation.id)

    @rule(call=booked)
    def put_back(self, call: tuple[Admitted, str]) -> None:
        """A quota holds again what it held when its store had lost it, whether that is settled by now or not."""
        self.books.put_back(call[0])

    @rule()
    def settle(self) -> None:
        self.books.settling.settle()

    @rule(chosen=st.sets(st.sampled_from(range(len(POLICIES)))))
    def change_policies(self, chosen: set[int]) -> None:
        self.books.apply(tuple(POLICIES[at] for at in sorted(chosen)))

    @rule(step_ms=st.sampled_from([1, MINUTE_MS, 20 * MINUTE_MS, 5 * HOUR_MS, 3 * DAY_MS, 40 * DAY_MS]))
    def wait(self, step_ms: int) -> None:
        self.books.clock.advance(step_ms)

    @rule()
    def restart_the_ledger(self) -> None:
        self.books.start_ledger()

    @rule(amount=st.integers(-5, 5), at=st.integers(0, 50))
    def tamper(self, amount: int, at: int) -> None:
        counters = list(self.books.world.counters.counters_at(self.books.clock.now_ms()))
        if counters:
            key, end_ms, _ = counters[at % len(counters)]
            self.books.counted.move({key: Move(end_ms, settled=amount)})

    @rule()
    def compare(self) -> None:
        books = self.books
        books.check()
        assert books.open_reservations().isdisjoint(entry.id for entry in books.entries)
        told, levels = books.told_by_the_ledger(), books.levels()
        for counter, (amount, known) in told.items():
            if known:
                assert levels.get(counter, 0) == amount, counter
        assert books.reconcile.last.unpriced == sum(not known for _, known in told.values())
        # Nothing is known about runs that are remembered only for a released call.
        checked = {limit.policy for limit in (levels.limit for levels in books.hold.list_counters().limits)}
        for counter, settled in levels.items():
            if counter.policy in checked - {"runs"} and counter not in told and "concurrency" not in counter.limit_id:
                assert settled == 0, counter


TestDrift = Drift.TestCase
TestDrift.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
