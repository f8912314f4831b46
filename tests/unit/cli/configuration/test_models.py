"""What the file says of models: what they carry, and what leads when."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.cli.configuration import Configuration, read_configuration
from services.cli.configuration.source import ConfigurationError

HEAD = """\
version: 1
organization: acme
providers:
  openai: {preset: openai, api_key: {env: OPENAI_API_KEY}}
models:
  gpt: {targets: [openai/gpt-4o]}
teams:
  ds: {projects: [forecasting]}
"""


def _read(text: str) -> Configuration:
    return read_configuration("f.yaml", text, folder=Path("/"))


def _problems(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        _read(text)
    return [str(problem) for problem in caught.value.problems]


def _with_models(models: str) -> str:
    return HEAD.replace("{env: OPENAI_API_KEY}}", f"{{env: OPENAI_API_KEY}}, models: {models}}}")


def test_what_is_declared_of_a_providers_model_is_read() -> None:
    text = _with_models("{gpt-4o: {context_window: 8_192, max_output: 512, carries: [tools, images]}}")
    declared = _read(text).file.providers["openai"].models["gpt-4o"]
    assert (declared.context_window, declared.max_output, declared.carries) == (8_192, 512, ("tools", "images"))


@pytest.mark.parametrize(
    ("models", "problem"),
    [
        ("{gpt-4o: {carries: [tols]}}", "did you mean 'tools'?"),
        ("{gpt-4o: {carries: [cache_1h]}}", "no feature"),
        ("{gpt-4o: {context: 5}}", "context"),
        ("{gpt-4: {max_output: 512}}", "did you mean 'gpt-4o'?"),
    ],
)
def test_a_declaration_that_means_nothing_is_refused(models: str, problem: str) -> None:
    (told,) = _problems(_with_models(models))
    assert problem in told
    assert told.startswith("f.yaml:4:")


def _with_fallbacks(fallbacks: str) -> str:
    return HEAD.replace("{targets: [openai/gpt-4o]}", f"{{targets: [openai/gpt-4o], fallbacks: {fallbacks}}}")


def test_a_condition_may_be_for_one_team() -> None:
    text = _with_fallbacks("[{to: [openai/b], when: {team: ds}}, {to: [openai/c], when: {team: ds, budget_used: 75%}}]")
    always, used = (fallback.when for fallback in _read(text).file.models["gpt"].fallbacks)
    assert always is not None
    assert used is not None
    assert (always.team, always.terms) == ("ds", ())
    assert (used.team, [term.budget_used for term in used.terms]) == ("ds", [7_500])


@pytest.mark.parametrize(
    ("fallbacks", "problem"),
    [
        ("[{to: [openai/b], when: {team: dss}}]", "did you mean 'ds'?"),
        ("[{to: [openai/b], when: {}}]", "write a condition like"),
        ("[{to: [openai/b, openai/gpt-4o]}]", "openai/gpt-4o -> openai/b -> openai/gpt-4o: no target is tried twice"),
        ("[{to: [openai/b], when: {team: ds}}, {to: [openai/b]}]", "openai/gpt-4o -> openai/b -> openai/b"),
    ],
)
def test_a_fallback_that_leads_nowhere_is_refused_with_its_path(fallbacks: str, problem: str) -> None:
    (told,) = _problems(_with_fallbacks(fallbacks))
    assert problem in told
    assert told.startswith("f.yaml:6:")
