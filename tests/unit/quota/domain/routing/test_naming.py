from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.quota.domain.routing.naming import find_model
from services.quota.domain.routing.plan import ModelPlan, PlanSnapshot

NAMES = ("claude-haiku-4-5", "claude-opus-4-8", "gpt-4o", "gpt-4o-2024-05-13", "lab/llama3:8b", "dated-20250101[1m]")
PLAN = PlanSnapshot(
    "plan-1",
    models={name: ModelPlan(name, ()) for name in NAMES},
    aliases={"fast": "gpt-4o", "best-latest": "claude-opus-4-8", "gpt-4o-mini": "claude-haiku-4-5"},
)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("claude-haiku-4-5@20251001", "claude-haiku-4-5"),
        ("claude-opus-4-8[1m]", "claude-opus-4-8"),
        ("claude-opus-4-8-20260101[1m]", "claude-opus-4-8"),
        ("claude-opus-4-8-latest", "claude-opus-4-8"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("fast", "gpt-4o"),
        ("fast-2024-08-06", "gpt-4o"),
        ("gpt-4o-mini-2024-07-18", "claude-haiku-4-5"),
        ("lab/llama3:8b-latest", "lab/llama3:8b"),
    ],
)
def test_a_vendors_name_for_a_release_reaches_the_configured_model(name: str, model: str) -> None:
    assert find_model(PLAN, name) == model


@pytest.mark.parametrize("name", ["gpt-4o-2024-05-13", "dated-20250101[1m]", "best-latest"])
def test_the_exact_name_wins(name: str) -> None:
    assert find_model(PLAN, name) == PLAN.aliases.get(name, name)


@pytest.mark.parametrize(
    "name",
    ["gpt-4", "gpt-4o-audio", "gpt-4o-20240806x", "x-gpt-4o", "gpt-4o-2024-08-06-2024-08-06", "GPT-4o", "[1m]", ""],
)
def test_another_model_is_not_taken_for_a_release(name: str) -> None:
    assert find_model(PLAN, name) == name


@given(st.text(max_size=300))
def test_any_text_reaches_a_model_of_the_plan_or_itself(name: str) -> None:
    found = find_model(PLAN, name)
    assert found in PLAN.models or found == name
