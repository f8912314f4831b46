"""What an operator declares of a model, and what is known without that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.kernel.dialect import CAPABILITIES, Feature
from services.kernel.errors import InvalidInput
from services.router.domain.provided_model import ProvidedModel
from services.router.domain.provider import check_provider
from tests.worlds.router import lab


def test_what_is_declared_wins_and_the_rest_is_what_is_known() -> None:
    provider = replace(lab(), models=(ProvidedModel("gpt-4o", max_output=100, carries=("tools", "audio")),))
    declared, known = provider.limits_of("gpt-4o"), lab().limits_of("gpt-4o")
    assert (declared.max_output, declared.context_window) == (100, 128_000)
    assert declared.lacks == CAPABILITIES - {Feature.TOOLS, Feature.AUDIO}
    assert {Feature.AUDIO, Feature.VIDEO} <= known.lacks
    assert Feature.IMAGES not in known.lacks


def test_of_a_model_that_nobody_knows_nothing_is_ruled_out() -> None:
    limits = lab().limits_of("tiny")
    assert (limits.lacks, limits.is_output_known) == (frozenset(), False)
    declared = replace(lab(), models=(ProvidedModel("tiny", max_output=512),)).limits_of("tiny")
    assert (declared.max_output, declared.is_output_known) == (512, True)


@pytest.mark.parametrize(
    ("models", "field", "problem"),
    [
        ((ProvidedModel(""),), "providers[0].models[0].name", "the provider's name for the model"),
        ((ProvidedModel("a"), ProvidedModel("a")), "providers[0].models[1].name", "comes twice"),
        ((ProvidedModel("a", context_window=-1),), "providers[0].models[0].context_window_tokens", "write 1 to"),
        ((ProvidedModel("a", carries=("image",)),), "providers[0].models[0].carries", "did you mean 'images'?"),
        ((ProvidedModel("a", carries=("files",)),), "providers[0].models[0].carries", "no feature"),
        (tuple(ProvidedModel(str(at)) for at in range(1_001)), "providers[0].models", "at most 1000"),
    ],
)
def test_a_wrong_declaration_is_refused(models: tuple[ProvidedModel, ...], field: str, problem: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_provider("providers[0]", replace(lab(), models=models))
    assert (refused.value.field, problem in refused.value.problem) == (field, True), refused.value.problem
