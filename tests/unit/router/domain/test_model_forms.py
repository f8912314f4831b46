from __future__ import annotations

import pytest

from services.kernel.dialect import Dialect, ThinkingForm
from services.router.domain.model_forms import forms_of


@pytest.mark.parametrize(
    ("dialect", "model", "thinking", "by_tool", "sampling"),
    [
        (Dialect.ANTHROPIC, "claude-haiku-4-5-20251001", ThinkingForm.BUDGET, False, True),
        (Dialect.ANTHROPIC, "claude-opus-4-8", ThinkingForm.ADAPTIVE, False, False),
        (Dialect.ANTHROPIC, "claude-sonnet-4-20250514", ThinkingForm.BUDGET, True, True),
        (Dialect.ANTHROPIC, "claude-3-5-haiku-latest", None, True, True),
        (Dialect.ANTHROPIC, "deepseek-chat", None, True, True),
        (Dialect.OPENAI, "o3-mini", ThinkingForm.EFFORT, False, False),
        (Dialect.OPENAI, "gpt-4o", None, False, True),
    ],
)
def test_the_longest_known_prefix_of_a_model_says_how_it_is_asked(
    dialect: Dialect, model: str, thinking: ThinkingForm | None, by_tool: bool, sampling: bool
) -> None:
    forms = forms_of(dialect, model)
    assert (forms.thinking, forms.is_structured_by_tool, forms.takes_sampling) == (thinking, by_tool, sampling)
