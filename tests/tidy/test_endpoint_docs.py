"""The guide's table of endpoints is that of the code."""

from __future__ import annotations

from pathlib import Path

from services.kernel.dialect import Dialect
from services.kernel.endpoint import ENDPOINTS, VERB, Endpoint

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "application-developer.md"
NAMES = {Dialect.OPENAI: "OpenAI", Dialect.ANTHROPIC: "Anthropic", Dialect.GEMINI: "Gemini"}


def _row(endpoint: Endpoint) -> str:
    first, *others = endpoint.verbs or ("",)
    paths = [f"`POST {endpoint.paths[-1].replace(VERB, first)}`", *(f"`:{verb}`" for verb in others)]
    return f"| {', '.join(paths)} | {NAMES[endpoint.dialect]} | {endpoint.metered_in} |"


def test_the_guide_lists_every_endpoint_and_what_is_counted_there() -> None:
    rows = [line for line in GUIDE.read_text().splitlines() if line.startswith("| `POST ")]

    assert rows == [_row(endpoint) for endpoint in ENDPOINTS]
