"""Properties of compiled plans and of the order in which they are published."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.kernel.change import OWNER
from services.router.domain.backend import name_clusters
from services.router.domain.model import Condition, Fallback, Measure, Model, TargetGroup, Term, WeightedTarget
from services.router.domain.plan import compile_model, compile_plan
from services.router.usecases.publish import Node
from tests.worlds.router import Router, lab, model

PROVIDERS = ("a", "b", "c")
TARGETS = [f"{provider}/{name}" for provider in PROVIDERS for name in "xyz"]

weighted = st.builds(WeightedTarget, st.sampled_from(TARGETS), st.integers(1, 5))
groups = st.lists(weighted, min_size=1, max_size=3).map(lambda one: TargetGroup(tuple(one)))
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


def names(chain: tuple[TargetGroup, ...]) -> list[str]:
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
    """Whoever is named is in the base chain."""
    [base, *_] = compile_model(route, frozenset(PROVIDERS)).tiers
    chains = [route.targets, *(fallback.to for fallback in route.fallbacks)]
    assert set(names(base.chain)) == {name for chain in chains for name in names(chain)}


@given(models, usable)
def test_targets_and_chains_of_a_plan_name_each_other(route: Model, providers: frozenset[str]) -> None:
    labs = [lab(name) for name in sorted(providers)]
    plan = compile_plan([route], labs, name_clusters(labs, {}))
    in_chains = {name for one in plan.models for tier in one.tiers for name in names(tier.chain)}
    assert in_chains == {target.name for target in plan.targets}


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
        self.router = Router(self.router.store, retire_after_ms=1_000)
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
        assert self.publisher.release is not None
        if took:
            self.publisher.acknowledged(node, self.publisher.release)
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
        release = self.publisher.release
        assert release is not None
        assert release.secrets.keys() == release.snapshot.secret_names

    def _node(self, at: int) -> Node:
        return self.publisher.nodes[at % len(self.publisher.nodes)]


TestPublication = Publication.TestCase
TestPublication.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
