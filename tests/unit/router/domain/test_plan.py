from __future__ import annotations

from dataclasses import replace

import pytest

from services.kernel.endpoint import Operation
from services.kernel.envoy_contract import LeadReason
from services.kernel.errors import InvalidInput
from services.kernel.preset import Preset
from services.router.domain.backend import name_clusters
from services.router.domain.health import Left, Watched
from services.router.domain.lead import TargetStates
from services.router.domain.model import ChainSlot, Condition, Measure, Model, Term
from services.router.domain.plan import check_every_fallback_counts, compile_model, compile_plan
from tests.worlds.router import budget, fallback, group, lab, model, vendor

ALL = frozenset({"a", "b", "c"})
SLOW = Condition((Term(Measure.ERROR_RATE, 2_000, 60), Term(Measure.LATENCY_P95, 8_000, 300)))


def tiers(route: Model, usable: frozenset[str] = ALL) -> dict[int, list[str]]:
    """Chains by threshold, equals joined by "|"."""
    return {
        tier.from_basis_points: ["|".join(one.target for one in place.targets) for place in tier.chain]
        for tier in compile_model(route, usable).tiers
    }


def test_the_base_chain_is_the_targets_and_then_the_fallbacks_whatever_their_condition() -> None:
    route = model("m", "a/x", "b/x", fallbacks=(fallback("c/x", when=budget(7_500)), fallback("c/y", when=SLOW)))
    assert tiers(route)[0] == ["a/x", "b/x", "c/x", "c/y"]


def test_from_its_threshold_on_a_cheaper_fallback_leads_and_the_dear_targets_leave() -> None:
    route = model("m", "a/large", fallbacks=(fallback("a/small", when=budget(7_500)), fallback("b/mini", when=SLOW)))
    assert tiers(route) == {0: ["a/large", "a/small", "b/mini"], 7_500: ["a/small", "b/mini"]}


def test_of_several_thresholds_that_are_reached_the_highest_leads() -> None:
    route = model(
        "m",
        "a/large",
        fallbacks=(fallback("a/small", when=budget(5_000)), fallback("a/tiny", when=budget(9_000)), fallback("b/x")),
    )
    assert tiers(route) == {
        0: ["a/large", "a/small", "a/tiny", "b/x"],
        5_000: ["a/small", "a/tiny", "b/x"],
        9_000: ["a/tiny", "a/small", "b/x"],
    }


def test_a_target_occurs_once_in_a_chain_wherever_it_was_named() -> None:
    route = Model(
        "m",
        (group("a/x", "b/x"), group("b/x", ("c/x", 3), "c/x")),
        (fallback("a/x", "c/y"), fallback("c/y", "a/z", when=budget(1))),
    )
    assert tiers(route) == {0: ["a/x|b/x", "c/x", "c/y", "a/z"], 1: ["c/y", "a/z", "a/x"]}
    assert compile_model(route, ALL).tiers[0].chain[1] == ChainSlot(group(("c/x", 3)).targets)


def test_targets_without_a_usable_provider_are_left_out() -> None:
    route = model("m", "a/x", "b/x", fallbacks=(fallback("c/x", when=budget(100)), fallback("b/y")))
    assert tiers(route, frozenset({"b"})) == {0: ["b/x", "b/y"], 100: ["b/y"]}
    assert tiers(route, frozenset({"c"})) == {0: ["c/x"]}
    assert tiers(route, frozenset()) == {}


def test_a_model_without_a_usable_target_stays_in_the_plan_and_says_who_is_missing() -> None:
    route = model("m", "b/x", "a/x", fallbacks=(fallback("c/x"),))
    gone, served = (compile_model(route, usable) for usable in (frozenset[str](), frozenset({"c"})))
    assert (gone.tiers, gone.providers_without_credential) == ((), ("a", "b", "c"))
    assert served.providers_without_credential == ()


@pytest.mark.parametrize(
    ("condition", "threshold"),
    [
        (Condition(), None),
        (SLOW, None),
        (Condition((Term(Measure.BUDGET_USED, 80), *SLOW.terms)), 80),
        (Condition((Term(Measure.BUDGET_USED, 80), *SLOW.terms), all_terms=True), None),
        (Condition((Term(Measure.BUDGET_USED, 80), Term(Measure.BUDGET_USED, 90))), 80),
        (Condition((Term(Measure.BUDGET_USED, 80), Term(Measure.BUDGET_USED, 90)), all_terms=True), 90),
    ],
)
def test_a_condition_holds_by_the_budget_alone_from_one_threshold_on_or_never(
    condition: Condition, threshold: int | None
) -> None:
    assert condition.budget_threshold == threshold


@pytest.mark.parametrize(
    "route",
    [
        model("m", "a/x", fallbacks=(fallback("a/x"),)),
        model("m", "a/x", fallbacks=(fallback("a/x", when=budget(5_000)),)),
        model("m", "a/x", fallbacks=(fallback("b/x"), fallback("b/x"))),
        model("m", "a/x", fallbacks=(fallback("b/x", when=budget(1)), fallback("b/x", when=budget(2)))),
    ],
)
def test_a_fallback_that_adds_nothing_is_an_error(route: Model) -> None:
    with pytest.raises(InvalidInput, match="adds nothing"):
        check_every_fallback_counts("models[0]", route)


def test_a_fallback_to_a_later_target_counts_when_it_takes_the_dearer_ones_out() -> None:
    check_every_fallback_counts("m", model("m", "a/x", "b/x", fallbacks=(fallback("b/x", when=budget(5_000)),)))


def test_the_plan_names_exactly_the_targets_of_its_chains_and_how_to_reach_them() -> None:
    anthropic = vendor(Preset.ANTHROPIC)
    models = [model("z", "lab/tiny"), model("claude", "anthropic/claude-sonnet-4-5"), model("gone", "other/x")]
    providers = [anthropic, replace(lab(), stops_on_disconnect=True)]
    plan = compile_plan(models, providers, name_clusters(providers, {}))
    assert [one.model for one in plan.models] == ["claude", "gone", "z"]
    assert [one.stops_on_disconnect for one in plan.targets] == [False, True]
    assert [one.name for one in plan.targets] == ["anthropic/claude-sonnet-4-5", "lab/tiny"]
    claude = plan.targets[0]
    assert (claude.upstream_model, claude.catalogue_provider) == ("claude-sonnet-4-5", "anthropic")
    assert (claude.max_output_tokens, claude.context_window_tokens) == (64_000, 200_000)
    assert [(one.cluster, one.host, one.path, one.operation) for one in claude.faces] == [
        ("anthropic.anthropic", "api.anthropic.com", "/v1/messages", Operation.CHAT),
        ("anthropic.anthropic", "api.anthropic.com", "/v1/messages/count_tokens", Operation.COUNT),
        ("anthropic.openai", "api.anthropic.com", "/v1/chat/completions", Operation.CHAT),
        # The first face of the provider is the one that calls are translated to.
        ("anthropic.openai-responses", "api.anthropic.com", "/v1/messages", Operation.RESPOND),
    ]
    assert plan.clusters == {"anthropic.anthropic", "anthropic.openai", "anthropic.openai-responses", "lab.gemini"}


SICK = Left(1, LeadReason.ERRORS, (), 2_000)
HEALTH = Condition((Term(Measure.ERROR_RATE, 2_000, 10),))


def tiers_of(route: Model, *sick: str, **states: frozenset[str]) -> list[tuple[int, list[str], str, list[str]]]:
    """Threshold, chain, reason and probes of each tier while these targets are not well."""

    def look(watched: Watched) -> Left | None:
        return SICK if set(watched.targets) <= set(sick) else None

    plan = compile_model(route, frozenset({"a", "b", "c"}), TargetStates(look, **states))
    return [
        (
            tier.from_basis_points,
            [one.target for slot in tier.chain for one in slot.targets],
            tier.reason or "",
            [one.target for probe in tier.probes for one in probe.slot.targets],
        )
        for tier in plan.tiers
    ]


def test_a_fallback_leads_while_the_first_slot_is_left_and_the_slot_goes_to_the_end() -> None:
    route = model("m", "a/x", fallbacks=(fallback("b/x", when=HEALTH), fallback("c/x")))
    assert tiers_of(route) == [(0, ["a/x", "b/x", "c/x"], "", [])]
    assert tiers_of(route, "a/x") == [(0, ["b/x", "c/x", "a/x"], "errors", ["a/x"])]
    # A slot that does not lead is not watched.
    assert tiers_of(route, "b/x") == tiers_of(route)


def test_the_next_fallback_looks_at_the_one_that_leads() -> None:
    route = model("m", "a/x", fallbacks=(fallback("b/x", when=HEALTH), fallback("c/x", when=HEALTH)))
    assert tiers_of(route, "a/x") == [(0, ["b/x", "c/x", "a/x"], "errors", ["a/x"])]
    assert tiers_of(route, "a/x", "b/x") == [(0, ["c/x", "a/x", "b/x"], "errors", ["a/x", "b/x"])]


def test_at_a_tier_of_the_budget_the_slot_that_leads_there_is_watched() -> None:
    route = model("m", "a/x", fallbacks=(fallback("b/x", when=budget(7_500)), fallback("c/x", when=HEALTH)))
    base: list[tuple[int, list[str], str, list[str]]] = [
        (0, ["a/x", "b/x", "c/x"], "", []),
        (7_500, ["b/x", "c/x"], "budget", []),
    ]
    assert tiers_of(route) == base
    assert tiers_of(route, "a/x") == [(0, ["c/x", "b/x", "a/x"], "errors", ["a/x"]), base[1]]
    assert tiers_of(route, "b/x") == [base[0], (7_500, ["c/x", "b/x"], "errors", ["b/x"])]


def test_any_leads_by_the_budget_alone_there_and_by_health_everywhere() -> None:
    either = Condition((*budget(7_500).terms, *HEALTH.terms))
    route = model("m", "a/x", fallbacks=(fallback("b/x", when=either),))
    assert tiers_of(route) == [(0, ["a/x", "b/x"], "", []), (7_500, ["b/x"], "budget", [])]
    assert tiers_of(route, "a/x") == [(0, ["b/x", "a/x"], "errors", ["a/x"]), (7_500, ["b/x"], "budget", [])]


def test_all_leads_only_with_both_the_budget_and_health() -> None:
    both = Condition((*budget(7_500).terms, *HEALTH.terms), all_terms=True)
    route = model("m", "a/x", fallbacks=(fallback("b/x", when=both),))
    assert tiers_of(route) == [(0, ["a/x", "b/x"], "", [])]
    assert tiers_of(route, "a/x") == [(0, ["a/x", "b/x"], "", []), (7_500, ["b/x", "a/x"], "errors", ["a/x"])]


def test_a_target_that_is_out_leaves_every_chain_unless_it_is_the_last() -> None:
    route = model("m", "a/x", fallbacks=(fallback("b/x", when=budget(7_500)),))
    out = frozenset({"a/x"})
    assert tiers_of(route, out=out) == [(0, ["b/x"], "errors", [])]
    assert tiers_of(route, out=frozenset({"b/x"})) == [(0, ["a/x"], "", []), (7_500, ["b/x"], "budget", [])]
    sick = model("m", "a/x", fallbacks=(fallback("b/x", when=HEALTH),))
    # It stays left, so that nobody is told of a return.
    assert tiers_of(sick, "a/x", out=out) == [(0, ["b/x"], "errors", ["a/x"])]
    assert tiers_of(route, out=frozenset({"a/x", "b/x"})) == tiers_of(route)


def test_a_fallback_that_only_leads_by_health_counts() -> None:
    check_every_fallback_counts("m", model("m", "a/x", "b/x", fallbacks=(fallback("b/x", when=HEALTH),)))
    with pytest.raises(InvalidInput, match="adds nothing"):
        check_every_fallback_counts("m", model("m", "a/x", "b/x", fallbacks=(fallback("a/x", when=HEALTH),)))
