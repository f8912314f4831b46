from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from services.kernel.change import Action, Change, ResourceKind
from services.kernel.errors import InvalidInput
from services.router.domain.configuration import (
    EMPTY,
    Configuration,
    check_configuration,
    differences,
)
from services.router.domain.model import ChainSlot, Condition, Fallback, Measure, Model, Term
from tests.worlds.router import fallback, group, lab, model

TINY = model("tiny", "lab/tiny")


def condition_of(*terms: Term) -> Model:
    return replace(TINY, fallbacks=(Fallback((group("lab/other"),), Condition(terms)),))


@pytest.mark.parametrize(
    ("route", "field"),
    [
        (replace(TINY, name=""), "models[0].name"),
        (replace(TINY, name="a" * 300), "models[0].name"),
        (replace(TINY, targets=()), "models[0].targets"),
        (replace(TINY, targets=(ChainSlot(()),)), "models[0].targets[0].targets"),
        (model("tiny", "lab"), "models[0].targets[0].targets[0].target"),
        (model("tiny", "nobody/x"), "models[0].targets[0].targets[0].target"),
        (replace(TINY, targets=(group("lab/a", ("lab/b", 0)),)), "models[0].targets[0].targets[1].weight"),
        (replace(TINY, targets=(group(("lab/b", 1_001)),)), "models[0].targets[0].targets[0].weight"),
        (model("tiny", *(f"lab/{at}" for at in range(17))), "models[0].targets"),
        (replace(TINY, fallbacks=(Fallback(()),)), "models[0].fallbacks[0].to"),
        (replace(TINY, fallbacks=(fallback("lab/y", "x/y"),)), "models[0].fallbacks[0].to[1].targets[0].target"),
        (replace(TINY, fallbacks=(fallback("lab/tiny"),)), "models[0].fallbacks[0].to"),
        (replace(TINY, first_byte_timeout_ms=-1), "models[0].first_byte_timeout"),
        (replace(TINY, aliases=("",)), "models[0].aliases[0]"),
        (replace(TINY, aliases=("a", "a")), "models[0].aliases[1]"),
        (replace(TINY, aliases=(TINY.name,)), "models[0].aliases[0]"),
        (replace(TINY, aliases=tuple(f"a{number}" for number in range(33))), "models[0].aliases"),
        (condition_of(Term(Measure.BUDGET_USED, 0)), "models[0].fallbacks[0].when.terms[0].budget_used_basis_points"),
        (
            condition_of(Term(Measure.BUDGET_USED, 10_001)),
            "models[0].fallbacks[0].when.terms[0].budget_used_basis_points",
        ),
        (condition_of(Term(Measure.BUDGET_USED, 1, 60)), "models[0].fallbacks[0].when.terms[0].period"),
        (
            condition_of(Term(Measure.BUDGET_USED, 1), Term(Measure.ERROR_RATE, 1)),
            "models[0].fallbacks[0].when.terms[1].period",
        ),
        (condition_of(Term(Measure.TTFT_P95, 0, 60)), "models[0].fallbacks[0].when.terms[0].ttft_p95"),
        (condition_of(Term(Measure.LATENCY_P95, 900_001, 60)), "models[0].fallbacks[0].when.terms[0].latency_p95"),
        (condition_of(*[Term(Measure.BUDGET_USED, 1)] * 17), "models[0].fallbacks[0].when.terms"),
    ],
)
def test_what_is_wrong_with_a_model_is_named_by_its_path(route: Model, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_configuration([lab()], [route])
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("check", "field"),
    [
        (lambda: check_configuration([lab("a"), lab("b"), lab("a")], []), "providers[2].name"),
        (lambda: check_configuration([lab()], [TINY, TINY]), "models[1].name"),
        (
            lambda: check_configuration([lab()], [replace(TINY, aliases=("b",)), replace(TINY, name="b")]),
            "models[0].aliases[0]",
        ),
        (
            lambda: check_configuration(
                [lab()], [replace(TINY, aliases=("x",)), replace(TINY, name="b", aliases=("x",))]
            ),
            "models[1].aliases[0]",
        ),
        (lambda: check_configuration([lab(f"p{at}") for at in range(1_001)], []), "providers"),
    ],
)
def test_names_are_unique_and_counts_bounded(check: Callable[[], Configuration], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check()
    assert caught.value.field == field


def test_a_configuration_is_kept_in_the_order_of_names() -> None:
    made = check_configuration([lab("z"), lab("b")], [model("y", "z/1"), model("a", "b/1")])
    assert [one.name for one in made.providers] == ["b", "z"]
    assert [one.name for one in made.models] == ["a", "y"]


def test_changes_are_reported_resource_by_resource() -> None:
    before = check_configuration([lab("b"), lab("z")], [model("y", "z/1")])
    after = check_configuration([lab("b", base_url="http://elsewhere/v1"), lab("c")], [model("y", "b/1")])
    assert differences(before, after) == (
        Change(Action.UPDATE, ResourceKind.PROVIDER, "b", "base_url"),
        Change(Action.CREATE, ResourceKind.PROVIDER, "c"),
        Change(Action.DELETE, ResourceKind.PROVIDER, "z"),
        Change(Action.UPDATE, ResourceKind.MODEL, "y", "targets"),
    )
    assert differences(after, after) == ()
    assert [change.action for change in differences(EMPTY, after)] == [Action.CREATE] * 3
