from __future__ import annotations

from pathlib import Path

import pytest

from services.cli.configuration import read_configuration
from services.cli.configuration.unpriced import find_unpriced_leads

HEAD = """\
version: 1
organization: acme
providers:
  lab: {protocol: openai, base_url: "http://127.0.0.1:8081/v1", api_key: none}
  openai: {preset: openai, api_key: {env: K}}
prices: {lab/known: {input: 1, output: 1}}
models:
"""


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (
            "{targets: [lab/new], fallbacks: [{to: [openai/gpt-4o]}]}",
            ["lab/new has no price, so calls under a limit on"],
        ),
        ("{targets: [[lab/known, lab/new]]}", ["lab/new has no price, so calls under a limit on"]),
        ("{targets: [lab/known, lab/new]}", []),
        # The catalogue may have it.
        ("{targets: [openai/new], fallbacks: [{to: [lab/known]}]}", []),
        # Refused with a sentence of its own, not passed over.
        ("{targets: [lab/new]}", []),
    ],
)
def test_a_first_target_that_never_serves_for_lack_of_a_price_is_reported(model: str, told: list[str]) -> None:
    configuration = read_configuration("f.yaml", HEAD + f"  gpt: {model}\n", folder=Path("/"))

    found = list(find_unpriced_leads(configuration.file))

    assert [text[: len(start)] for (_, text), start in zip(found, told, strict=True)] == told
    assert all(str(configuration.source.problem(*each)).startswith("f.yaml:8:") for each in found)
