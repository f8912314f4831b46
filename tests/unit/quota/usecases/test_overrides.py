from __future__ import annotations

import os
from dataclasses import replace

import pytest

from services.kernel.change import OWNER, Actor, Authorship
from services.kernel.errors import InvalidInput, NotFound, PermissionDenied
from services.kernel.limit_kind import LimitKind
from services.kernel.scope import Dimension
from services.kernel.window import WindowUnit
from services.quota.adapters.slices import Turns
from services.quota.domain.admission.budget_leads import BudgetLeads
from services.quota.domain.identity.team import Team
from services.quota.domain.policies.denial import Denial, Deny
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.override_rules import MAX_LIFE_MS
from services.quota.domain.policies.policy import Match, QuotaPolicy, Threshold
from services.quota.domain.routing.probes import Probes
from services.quota.usecases.admit import Admitted
from services.quota.usecases.amend import Amend
from services.quota.usecases.budgets import EffectiveLimits, ListBudgets
from services.quota.usecases.explain import Explain
from services.quota.usecases.overrides import Grant, Overrides
from services.quota.usecases.policies import PolicyMatches
from services.quota.usecases.recent_calls import RecentCalls
from tests.worlds.memory_counters import MemoryCounters
from tests.worlds.memory_directory import MemoryDirectory
from tests.worlds.quota import CENT, World, spend

TEAM = "data-science"
CAP = spend("team", 10, match=Match(team=TEAM))
PROD = spend("prod", 1, match=Match(team=TEAM, environment="prod"))
PLATFORM = replace(OWNER, reason="a launch")
LEAD = Authorship(Actor("lead", "team-admin", TEAM), "a launch", "req-1")
STRANGER = replace(LEAD, actor=Actor("stranger", "team-admin", "marketing"))


class Desk(World):
    """A world whose limits can be overridden."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.store = MemoryDirectory()
        teams = (Team(TEAM, members=("ada@example.com", "eve@example.com")),)
        self.live.set_directory(replace(self.live.snapshot.directory.directory, teams=teams))
        self.store.replace(lambda _: (self.live.snapshot.directory.directory, ()))
        amend = Amend(store=self.store, live=self.live, adoption=MemoryCounters(), clock=self.clock)
        self.overrides = Overrides(amend=amend, live=self.live, clock=self.clock, entropy=os.urandom)

    def asked(self, policy: str = "prod", cents: int = 2, *, for_ms: int = 60_000, **changes: object) -> Grant:
        until_ms = self.clock.now_ms() + for_ms
        asked = Grant(policy, "", "", amount_nano_usd=cents * CENT, count=0, expire_at_ms=until_ms)
        return replace(asked, **changes)  # type: ignore[arg-type]  # names and types as in Grant


@pytest.fixture
def desk() -> Desk:
    return Desk((CAP, PROD))


def test_an_override_admits_at_once_what_the_limit_refuses_and_ends_with_the_clock(desk: Desk) -> None:
    desk.let()
    assert desk.refused().policy == "prod"

    desk.overrides.grant(desk.asked(), by=LEAD)
    desk.let()
    deny = desk.refused()
    assert (deny.policy, deny.limit, deny.overridden_until_ms) == ("prod", 2 * CENT, desk.clock.now_ms() + 60_000)

    desk.clock.advance(59_999)
    assert desk.refused().limit == 2 * CENT
    desk.clock.advance(1)
    assert (desk.refused().limit, desk.refused().overridden_until_ms) == (CENT, 0)


def test_an_override_can_block_and_revoking_it_gives_the_room_back(desk: Desk) -> None:
    override = desk.overrides.grant(desk.asked(cents=0), by=PLATFORM)
    assert desk.refused().denial is Denial.BUDGET_EXHAUSTED

    assert desk.overrides.revoke(override.name, by=PLATFORM) == override
    desk.let()
    with pytest.raises(NotFound):
        desk.overrides.revoke(override.name, by=PLATFORM)


def test_budgets_and_explanations_show_the_bound_in_force_and_until_when(desk: Desk) -> None:
    override = desk.overrides.grant(desk.asked(), by=LEAD)

    (budget,) = ListBudgets(live=desk.live, counters=desk.counters, clock=desk.clock, turns=Turns())("prod")
    assert (budget.limit, budget.override) == (2 * CENT, override)
    explained = Explain(
        live=desk.live,
        counters=desk.counters,
        recent=RecentCalls(desk.expectations, PolicyMatches(), desk.lag, desk.contention, Probes(), BudgetLeads()),
        clock=desk.clock,
    )("ds-prod", "dear")
    bounds = {limit.policy: (limit.bound, limit.overridden_until_ms) for limit in explained.limits}
    assert bounds == {"team": (10 * CENT, 0), "prod": (2 * CENT, override.expire_at_ms)}

    desk.clock.advance(60_000)
    (budget,) = ListBudgets(live=desk.live, counters=desk.counters, clock=desk.clock, turns=Turns())("prod")
    assert (budget.limit, budget.override) == (CENT, None)


def test_thresholds_are_parts_of_the_bound_in_force() -> None:
    desk = Desk((CAP, replace(PROD, thresholds=(Threshold(10_000),))))
    desk.overrides.grant(desk.asked(), by=LEAD)

    assert desk.settle(desk.let(), CENT).crossings == ()
    assert [crossing.bound for crossing in desk.settle(desk.let(), CENT).crossings] == [2 * CENT]


def test_a_second_grant_replaces_the_first_and_both_are_in_the_log(desk: Desk) -> None:
    first = desk.overrides.grant(desk.asked(), by=LEAD)
    desk.clock.advance(1)
    second = desk.overrides.grant(desk.asked(cents=3), by=LEAD)

    assert desk.overrides.list() == (second,)
    assert {(entry.action, entry.name) for entry in desk.store.entries} == {
        ("grant", first.name),
        ("delete", first.name),
        ("grant", second.name),
    }
    assert {(entry.by, entry.kind) for entry in desk.store.entries} == {(LEAD, "override")}


def test_what_ended_by_the_clock_goes_with_the_next_change_and_is_nobodys_doing(desk: Desk) -> None:
    desk.overrides.grant(desk.asked(), by=LEAD)
    desk.clock.advance(60_000)
    assert desk.overrides.list() == ()

    desk.overrides.grant(desk.asked("team"), by=PLATFORM)

    assert [override.policy for override in desk.store.load().overrides] == ["team"]
    assert [entry.action for entry in desk.store.entries] == ["grant", "grant"]


def test_a_team_admin_grants_up_to_the_cap_of_its_team_and_not_a_nano_dollar_more(desk: Desk) -> None:
    assert desk.overrides.grant(desk.asked(cents=10), by=LEAD).bound == 10 * CENT
    with pytest.raises(PermissionDenied, match=r"up to \$0\.100000000, the cap of team data-science: .* platform role"):
        desk.overrides.grant(desk.asked(amount_nano_usd=10 * CENT + 1), by=LEAD)
    assert desk.overrides.grant(desk.asked(amount_nano_usd=10 * CENT + 1), by=PLATFORM).bound == 10 * CENT + 1


def test_a_team_admin_does_not_override_the_cap_itself_nor_where_there_is_none(desk: Desk) -> None:
    with pytest.raises(PermissionDenied, match="no limit of the whole team data-science caps"):
        desk.overrides.grant(desk.asked("team", 1), by=LEAD)
    with pytest.raises(PermissionDenied, match="no limit of the whole team"):
        Desk((PROD,)).overrides.grant(desk.asked(), by=LEAD)


def test_a_team_admin_has_no_say_over_policies_of_others() -> None:
    desk = Desk((CAP, PROD, spend("all", 1)))
    with pytest.raises(PermissionDenied, match=r"policy prod belongs to team data-science, .* is for team marketing"):
        desk.overrides.grant(desk.asked(), by=STRANGER)
    with pytest.raises(PermissionDenied, match="policy all belongs to no team"):
        desk.overrides.grant(desk.asked("all"), by=LEAD)
    override = desk.overrides.grant(desk.asked(), by=LEAD)
    with pytest.raises(PermissionDenied):
        desk.overrides.revoke(override.name, by=STRANGER)
    assert desk.overrides.list("marketing") == ()
    assert desk.overrides.list(TEAM) == (override,)


def test_what_the_platform_lowered_no_team_admin_raises(desk: Desk) -> None:
    lowered = desk.overrides.grant(desk.asked(cents=0), by=PLATFORM)

    with pytest.raises(PermissionDenied, match=f"override {lowered.name} was granted by local"):
        desk.overrides.grant(desk.asked(), by=LEAD)
    with pytest.raises(PermissionDenied, match="ask the platform role"):
        desk.overrides.revoke(lowered.name, by=LEAD)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"limit": "spend/day"}, "override.limit_id"),
        ({"limit": "requests/month"}, "override.limit_id"),
        ({"scope": "team=marketing"}, "override.scope"),
        ({"amount_nano_usd": None}, "override.amount"),
        ({"amount_nano_usd": -1}, "override.amount"),
        ({"amount_nano_usd": 9_000_001 * 10**9}, "override.amount"),
        ({"for_ms": 0}, "override.expire_time"),
        ({"for_ms": MAX_LIFE_MS + 1}, "override.expire_time"),
    ],
)
def test_a_wrong_grant_is_refused_by_its_field(desk: Desk, changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        desk.overrides.grant(desk.asked(**changes), by=PLATFORM)  # type: ignore[arg-type]  # as in Grant
    assert refused.value.field == field
    assert desk.store.entries == []


def test_a_grant_needs_a_reason_and_a_policy(desk: Desk) -> None:
    with pytest.raises(InvalidInput, match=r"override\.reason"):
        desk.overrides.grant(desk.asked(), by=OWNER)
    with pytest.raises(NotFound):
        desk.overrides.grant(desk.asked("nobody"), by=PLATFORM)


def test_a_policy_that_counts_each_needs_the_scope_and_a_limit_its_window() -> None:
    limits = (Limit(LimitKind.REQUESTS, 1, WindowUnit.DAY), Limit(LimitKind.REQUESTS, 5, WindowUnit.MONTH))
    users = QuotaPolicy("users", Match(team=TEAM), limits, each=Dimension.USER)
    desk = Desk((users,))
    asked = desk.asked("users", amount_nano_usd=None, count=2, limit="requests/day")

    for scope in ("", "user=ada@example.com", f"team={TEAM}", f"team={TEAM},user=", f"team={TEAM},user=a b"):
        with pytest.raises(InvalidInput, match=r"override\.scope"):
            desk.overrides.grant(replace(asked, scope=scope), by=PLATFORM)
    with pytest.raises(InvalidInput, match=r"did you mean 'ada@example\.com'"):
        desk.overrides.grant(replace(asked, scope=f"team={TEAM},user=ade@example.com"), by=PLATFORM)
    with pytest.raises(InvalidInput, match=r"which limit you mean: policy .* has requests/day/UTC, requests/month/"):
        desk.overrides.grant(replace(asked, limit="", scope=f"team={TEAM},user=ada@example.com"), by=PLATFORM)
    with pytest.raises(InvalidInput, match=r"override\.amount"):
        desk.overrides.grant(replace(asked, amount_nano_usd=1), by=PLATFORM)

    desk.overrides.grant(replace(asked, scope=f"team={TEAM},user=ada@example.com"), by=PLATFORM)
    desk.let()
    desk.let()
    assert desk.refused().policy == "users"


def test_the_limits_of_a_key_are_those_of_all_that_it_is_part_of_tightest_first() -> None:
    policies = (
        spend("all", 100),
        CAP,
        PROD,
        spend("other-team", 1, match=Match(team="marketing")),
        replace(spend("models", 50), each=Dimension.MODEL),
    )
    desk = Desk(policies)
    desk.settle(desk.let(), CENT)
    override = desk.overrides.grant(desk.asked(cents=4), by=LEAD)
    limits_of = EffectiveLimits(live=desk.live, counters=desk.counters, clock=desk.clock)

    found = limits_of("ds-prod", "dear")

    assert [(each.policy, each.limit, each.settled) for each in found] == [
        ("prod", 4 * CENT, CENT),
        ("team", 10 * CENT, CENT),
        ("models", 50 * CENT, CENT),
        ("all", 100 * CENT, CENT),
    ]
    assert [each.override for each in found] == [override, None, None, None]
    models = {each.scope for each in limits_of("ds-prod") if each.policy == "models"}
    assert {"model=dear", "model=tiered", "model=claude"} <= models
    with pytest.raises(NotFound):
        limits_of("nobody")


def test_an_override_of_a_limit_per_run_holds_for_every_run() -> None:
    runs = QuotaPolicy("runs", Match(team=TEAM), (Limit(LimitKind.SPEND, 0, WindowUnit.RUN),))
    desk = Desk((runs,))
    assert isinstance(desk.ask(run="first"), Deny)

    desk.overrides.grant(desk.asked("runs", 1), by=PLATFORM)

    for run in ("first", "second,team=marketing"):
        assert isinstance(desk.ask(run=run), Admitted)
        assert isinstance(desk.ask(run=run), Deny)
    budgets = ListBudgets(live=desk.live, counters=desk.counters, clock=desk.clock, turns=Turns())
    assert budgets(team="marketing") == ()
    assert {budget.limit for budget in budgets(team=TEAM)} == {CENT}


def test_an_override_of_a_window_that_rolls_holds_for_all_of_it() -> None:
    hour = Limit(LimitKind.SPEND, CENT, WindowUnit.ROLLING, rolling_ms=3_600_000)
    desk = Desk((QuotaPolicy("hour", Match(team=TEAM), (hour,)),))
    desk.settle(desk.let(), CENT)
    desk.clock.advance(1_800_000)
    desk.refused()

    override = desk.overrides.grant(desk.asked("hour", 2), by=PLATFORM)

    desk.let()
    desk.refused()
    (found,) = EffectiveLimits(live=desk.live, counters=desk.counters, clock=desk.clock)("ds-prod", "dear")
    assert (found.settled, found.reserved, found.limit, found.override) == (CENT, CENT, 2 * CENT, override)
