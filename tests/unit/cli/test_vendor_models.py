from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from services.cli.main import build_app
from services.cli.problems import Misuse
from services.cli.session import Session
from services.kernel.clock import ManualClock
from services.kernel.preset import Preset


def run(*arguments: str, as_json: bool = True) -> Any:
    options = ["--json"] if as_json else []
    session = Session({}, ManualClock())
    done = CliRunner().invoke(build_app(arguments[0]), [*arguments, *options], obj=session)
    if isinstance(done.exception, Misuse):
        raise done.exception
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout) if as_json else done.stdout


def test_every_preset_is_listed() -> None:
    presets = run("providers", "list")["presets"]
    assert [each["preset"] for each in presets] == list(Preset)
    assert {each["preset"] for each in presets if each["needs_own_base_url"]} == {"azure"}
    assert "https://RESOURCE.openai.azure.com/openai/v1" in run("providers", "list", as_json=False)


def test_a_vendors_models_have_their_published_prices() -> None:
    models = {each["model"]: each for each in run("models", "list", "--provider", "openai")["models"]}
    mini = models["gpt-4o-mini"]
    assert (mini["input_usd_per_million"], mini["output_usd_per_million"]) == ("0.15", "0.6")
    assert list(models) == sorted(models)
    found = run("models", "list", "--provider", "openai", "--search", "GPT-4o-Mini")["models"]
    assert 0 < len(found) < len(models)
    assert all("gpt-4o-mini" in each["model"] for each in found)


@pytest.mark.parametrize("preset", [preset for preset in Preset if preset.catalogue_provider])
def test_the_models_of_each_vendor_in_the_catalogue_can_be_shown(preset: Preset) -> None:
    assert run("models", "list", "--provider", preset)["models"]
    assert "MODEL" in run("models", "list", "--provider", preset, as_json=False)


def test_a_vendor_that_nobody_knows_is_refused_with_what_was_meant() -> None:
    with pytest.raises(Misuse, match="did you mean 'openai'"):
        run("models", "list", "--provider", "opena")
    with pytest.raises(Misuse, match="write the prices of its models under `prices`"):
        run("models", "list", "--provider", "ollama")


def test_a_search_that_finds_nothing_says_so() -> None:
    assert "whose name contains 'zzz'" in run(
        "models", "list", "--provider", "openai", "--search", "zzz", as_json=False
    )
