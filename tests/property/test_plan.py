"""Properties of compiled plans and of the order in which they are published."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TypeVar

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.kernel.change import OWNER
from services.kernel.dialect import Dialect
from services.router.domain.backend import backends_of, name_clusters
from services.router.domain.model import ChainSlot, Condition, Fallback, Measure, Model, Term, WeightedTarget
from services.router.domain.plan import RoutePlan, Tier, compile_model, compile_plan
from services.router.domain.snapshot import Snapshot
from services.router.usecases.publish import Node
from tests.worlds.router import Router, lab, model

T = TypeVar("T")

PROVIDERS = ("a", "b", "c")
TARGETS = [f"{provider}/{name}" for provider in PROVIDERS for name in "xyz"]

weighted = st.builds(WeightedTarget, st.sampled_from(TARGETS), st.integers(1, 5))
groups = st.lists(weighted, min_size=1, max_size=3).map(lambda one: ChainSlot(tuple(one)))
chains = st.lists(groups, min_size=1, max_size=3).map(tuple)
terms = st.one_of(
    st.builds(Term, st.just(Measure.BUDGET_USED), st.integers(1, 10_000)),
    st.builds(Term, st.just(Measure.ERROR_RATE), st.integers(1, 10_000), st.just(60)),
)
conditions = st.builds(Condition, st.lists(terms, max_size=3).map(tuple), st.booleans())
models = st.builds(
    Model, st.just("m"), chains, st.lists(st.builds(Fallback, chains, conditions), max_size=3).map(tuple)
)
usable = st.frozensets(st.sampled_from(PROVIDERS))


def names(chain: tuple[ChainSlot, ...]) -> list[str]:
    return [one.target for group in chain for one in group.targets]


@given(models, usable)
def test_a_chain_repeats_nothing_and_names_only_what_is_usable(route: Model, providers: frozenset[str]) -> None:
    for tier in compile_model(route, providers).tiers:
        chain = names(tier.chain)
        assert chain
        assert len(chain) == len(set(chain))
        assert all(target.split("/")[0] in providers for target in chain)


@given(models, usable)
def test_tiers_begin_at_nothing_rise_and_differ(route: Model, providers: frozenset[str]) -> None:
    tiers = compile_model(route, providers).tiers
    assert all(low.from_basis_points < high.from_basis_points for low, high in pairwise(tiers))
    assert all(low.chain != high.chain for low, high in pairwise(tiers))
    assert not tiers or tiers[0].from_basis_points == 0


@given(models)
def test_a_healthy_target_is_never_skipped(route: Model) -> None:
    """Every named target is in the base chain."""
    [base, *_] = compile_model(route, frozenset(PROVIDERS)).tiers
    chains = [route.targets, *(fallback.to for fallback in route.fallbacks)]
    assert set(names(base.chain)) == {name for chain in chains for name in names(chain)}


@given(models, usable)
def test_targets_and_chains_of_a_plan_name_each_other(route: Model, providers: frozenset[str]) -> None:
    labs = [lab(name) for name in sorted(providers)]
    plan = compile_plan([route], labs, name_clusters(labs, {}))
    in_chains = {name for one in plan.models for tier in one.tiers for name in names(tier.chain)}
    assert in_chains == {target.name for target in plan.targets}


@st.composite
def offers(draw: st.DrawFn) -> tuple[Snapshot, RoutePlan]:
    """The offers to Envoy and quota that a configuration makes."""
    providers = [lab(name) for name in sorted(draw(usable))]
    clusters = name_clusters(providers, {})
    plan = compile_plan([draw(models)], providers, clusters)
    return Snapshot("1", tuple(backend.cluster for backend in backends_of(providers, clusters))), plan


@given(offers())
def test_what_a_configuration_makes_fits_together(offer: tuple[Snapshot, RoutePlan]) -> None:
    snapshot, plan = offer
    assert snapshot.check(plan, snapshot.secret_names) == ()


def without(items: tuple[T, ...], at: int) -> tuple[T, ...]:
    return items[:at] + items[at + 1 :]


@given(offers(), st.integers(0, 8))
def test_a_cluster_or_secret_that_is_missing_or_left_over_is_found(offer: tuple[Snapshot, RoutePlan], at: int) -> None:
    snapshot, plan = offer
    assert snapshot.check(plan, snapshot.secret_names | {"of nobody"}) == ("secret of nobody belongs to no cluster",)
    assume(snapshot.clusters)
    at %= len(snapshot.clusters)
    cluster = snapshot.clusters[at]
    assert snapshot.check(plan, snapshot.secret_names - {cluster.secret_name}) == (
        f"secret {cluster.secret_name} is missing",
    )
    twice = replace(snapshot, clusters=(*snapshot.clusters[:at], cluster, *snapshot.clusters[at:]))
    assert twice.check(plan, snapshot.secret_names)
    fewer = replace(snapshot, clusters=without(snapshot.clusters, at))
    assert bool(fewer.check(plan, fewer.secret_names)) == (cluster.name in plan.clusters)


@given(offers(), st.integers(0, 8), st.sampled_from(["secret", "port", "dialect"]))
def test_a_cluster_of_another_server_or_dialect_is_found(offer: tuple[Snapshot, RoutePlan], at: int, what: str) -> None:
    snapshot, plan = offer
    assume(len(snapshot.clusters) > 1)
    at %= len(snapshot.clusters)
    cluster = snapshot.clusters[at]
    assume(what != "dialect" or cluster.name in plan.clusters)
    changed = {
        # Another provider's key, at this server.
        "secret": replace(cluster, secret_name=snapshot.clusters[at - 1].secret_name, hostname="elsewhere.example"),
        "port": replace(cluster, port=0),
        "dialect": replace(cluster, dialect=_another(cluster.dialect)),
    }[what]
    wrong = replace(snapshot, clusters=(*snapshot.clusters[:at], changed, *snapshot.clusters[at + 1 :]))
    assert wrong.check(plan, wrong.secret_names)


def _another(dialect: Dialect) -> Dialect:
    return Dialect.OPENAI if dialect is Dialect.GEMINI else Dialect.GEMINI


@given(offers(), st.integers(0, 8), st.integers(0, 8))
def test_a_plan_that_is_damaged_anywhere_is_found(offer: tuple[Snapshot, RoutePlan], tier_at: int, at: int) -> None:
    snapshot, plan = offer
    assume(plan.targets)
    [one] = plan.models
    tier = one.tiers[tier_at % len(one.tiers)]
    place = tier.chain[at % len(tier.chain)]

    def with_tier(changed: Tier) -> RoutePlan:
        tiers = tuple(changed if each is tier else each for each in one.tiers)
        return replace(plan, models=(replace(one, tiers=tiers),))

    damaged = [
        with_tier(replace(tier, chain=(*tier.chain, place))),
        with_tier(replace(tier, chain=(*tier.chain, ChainSlot(())))),
        with_tier(replace(tier, chain=(*tier.chain, ChainSlot((WeightedTarget("a/unheard-of"),))))),
        with_tier(replace(tier, chain=())),
        with_tier(replace(tier, from_basis_points=-1 if tier is not one.tiers[0] else 1)),
        replace(plan, models=(replace(one, tiers=(*one.tiers, one.tiers[-1])),)),
        replace(plan, targets=without(plan.targets, at % len(plan.targets))),
        replace(plan, targets=(replace(plan.targets[0], faces=()), *plan.targets[1:])),
        replace(plan, models=()),
    ]
    for wrong in damaged:
        assert snapshot.check(wrong, snapshot.secret_names)


class Publication(RuleBasedStateMachine):
    """Any order of configurations, acknowledgements, refusals, connections and time."""

    def __init__(self) -> None:
        super().__init__()
        self.router = Router()
        self.publisher = self.router.publisher
        self.may_be_in_use: dict[str, int] = {}
        """Clusters that quota could name, and until when a request can be on them."""

    @initialize()
    def begin(self) -> None:
        self.apply(frozenset("ab"), moved=False)
        self.envoy_connects()
        self.envoy_acts(0, took=True)
        self.quota_takes()

    @rule(chosen=st.frozensets(st.sampled_from(PROVIDERS)), moved=st.booleans())
    def apply(self, chosen: frozenset[str], moved: bool) -> None:
        url = "http://127.0.0.1:2/v1" if moved else "http://127.0.0.1:1/v1"
        self.router.administrator.apply(
            [lab(name, url) for name in sorted(chosen)],
            [model(name, f"{name}/x") for name in sorted(chosen)],
            validate_only=False,
            by=OWNER,
        )

    @rule()
    def restart(self) -> None:
        quotas = len(self.publisher.watchers)
        self.router = Router(self.router.engine, retire_after_ms=1_000)
        self.router.clock.advance(self.publisher.clock.now_ms() - self.router.clock.now_ms())
        self.publisher = self.router.publisher
        for _ in range(quotas):
            self.publisher.connect_watcher()

    @precondition(lambda self: len(self.publisher.nodes) < 2)
    @rule()
    def envoy_connects(self) -> None:
        self.publisher.connect_node("local-1795464000000")

    @precondition(lambda self: self.publisher.nodes)
    @rule(at=st.integers(0, 1), took=st.sampled_from([True, True, False]))
    def envoy_acts(self, at: int, took: bool) -> None:
        node = self._node(at)
        assert self.publisher.version is not None
        if took:
            self.publisher.acknowledged(node, self.publisher.version)
        else:
            self.publisher.refused(node, "no")

    @precondition(lambda self: self.publisher.nodes)
    @rule(at=st.integers(0, 1))
    def envoy_leaves(self, at: int) -> None:
        self.publisher.disconnect_node(self._node(at))

    @rule()
    def quota_takes(self) -> None:
        if not self.publisher.watchers:
            self.publisher.connect_watcher()
        if self.publisher.plan is not None:
            self.publisher.plan_taken(self.publisher.watchers[0], self.publisher.plan.version)
            now_ms = self.router.clock.now_ms()
            named = self.publisher.plan.plan.clusters
            ends = {name: min(end, now_ms + 1_000) for name, end in self.may_be_in_use.items() if name not in named}
            self.may_be_in_use = dict.fromkeys(named, 2**62) | ends

    @rule(seconds=st.integers(0, 3))
    def time_passes(self, seconds: int) -> None:
        self.router.clock.advance(seconds * 500)
        self.publisher.tick()

    @invariant()
    def quota_names_only_what_envoy_is_told_to_hold(self) -> None:
        if self.publisher.plan is not None:
            for name in self.publisher.plan.plan.clusters:
                self.may_be_in_use[name] = 2**62
        now_ms = self.router.clock.now_ms()
        in_use = {name for name, end in self.may_be_in_use.items() if end > now_ms}
        assert in_use <= set(self.router.clusters)

    @invariant()
    def every_secret_is_there(self) -> None:
        version = self.publisher.version
        assert version is not None
        assert version.secrets.keys() == version.snapshot.secret_names

    @invariant()
    def what_envoy_holds_and_quota_names_fits_together(self) -> None:
        version, plan = self.publisher.version, self.publisher.plan
        assert version is not None
        if plan is not None:
            assert version.snapshot.check(plan.plan, version.secrets) == ()

    def _node(self, at: int) -> Node:
        return self.publisher.nodes[at % len(self.publisher.nodes)]


TestPublication = Publication.TestCase
TestPublication.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
