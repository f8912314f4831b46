"""How models want to be asked for what both dialects can say: what a translated request must know of its model.

Sources: https://docs.anthropic.com/en/docs/about-claude/models/overview, .../build-with-claude/extended-thinking,
.../build-with-claude/structured-outputs, https://platform.openai.com/docs/guides/reasoning. Names match by their
longest known prefix. Of a model that is not listed, only what every model takes is asked.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.kernel.dialect import Dialect, ThinkingForm


@dataclass(frozen=True, slots=True)
class ModelForms:
    """The forms of one model."""

    thinking: ThinkingForm | None = None
    """None: it cannot be asked to think."""
    is_structured_by_tool: bool = False
    """Its answer gets a form by a tool that it must call. Otherwise the request names the form."""
    takes_sampling: bool = True
    """It takes `temperature` and the like."""


_BUDGET = ModelForms(ThinkingForm.BUDGET)
_BUDGET_AND_TOOL = ModelForms(ThinkingForm.BUDGET, is_structured_by_tool=True)
_ADAPTIVE = ModelForms(ThinkingForm.ADAPTIVE)
_ALWAYS_THINKS = ModelForms(ThinkingForm.EFFORT, takes_sampling=False)
_KNOWN = {
    Dialect.ANTHROPIC: {
        "": ModelForms(is_structured_by_tool=True),
        "claude-3-7-sonnet": _BUDGET_AND_TOOL,
        "claude-sonnet-4": _BUDGET_AND_TOOL,
        "claude-opus-4": _BUDGET_AND_TOOL,
        "claude-sonnet-4-5": _BUDGET,
        "claude-opus-4-1": _BUDGET,
        "claude-opus-4-5": _BUDGET,
        "claude-haiku-4-5": _BUDGET,
        "claude-sonnet-4-6": _ADAPTIVE,
        "claude-opus-4-6": _ADAPTIVE,
        "claude-opus-4-7": ModelForms(ThinkingForm.ADAPTIVE, takes_sampling=False),
        "claude-opus-4-8": ModelForms(ThinkingForm.ADAPTIVE, takes_sampling=False),
    },
    Dialect.OPENAI: {
        "": ModelForms(),
        "gpt-5": _ALWAYS_THINKS,
        "o1": _ALWAYS_THINKS,
        "o3": _ALWAYS_THINKS,
        "o4": _ALWAYS_THINKS,
    },
}


def forms_of(dialect: Dialect, upstream_model: str) -> ModelForms:
    """Returns the forms of a model by its name at a provider that speaks `dialect`.

    Raises:
        KeyError: nothing is translated to that dialect.
    """
    known = _KNOWN[dialect]
    return known[max((prefix for prefix in known if upstream_model.startswith(prefix)), key=len)]
