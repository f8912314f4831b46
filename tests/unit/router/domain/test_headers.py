from __future__ import annotations

from pathlib import Path

import pytest

from services.kernel.dialect import Dialect
from services.kernel.envoy_contract import CREDENTIAL_HEADERS
from services.router.domain.headers import (
    EXPECTED_FROM_CLIENT,
    EXPECTED_FROM_PROVIDER,
    TO_CLIENT,
    TO_PROVIDER,
    Passing,
)

PAGE = Path(__file__).resolve().parents[4] / "docs" / "headers.md"


def test_no_credential_passes_in_either_direction() -> None:
    names = {one.name for one in (*TO_PROVIDER, *TO_CLIENT)}
    assert not names & {*CREDENTIAL_HEADERS, "set-cookie", "www-authenticate", "location"}


def test_all_names_are_spelt_as_envoy_spells_them() -> None:
    for name in (*(one.name for one in (*TO_PROVIDER, *TO_CLIENT)), *EXPECTED_FROM_CLIENT, *EXPECTED_FROM_PROVIDER):
        assert name == name.lower()
        assert name.replace("-", "").isalnum()


@pytest.mark.parametrize("passing", [TO_PROVIDER, TO_CLIENT])
def test_the_documentation_lists_what_passes(passing: tuple[Passing, ...]) -> None:
    rows = "\n".join(_row(one) for one in passing)
    assert rows in PAGE.read_text(encoding="utf-8"), f"docs/headers.md must hold:\n{rows}"


_NAMES = {Dialect.OPENAI: "OpenAI", Dialect.ANTHROPIC: "Anthropic", Dialect.GEMINI: "Gemini"}


def _row(one: Passing) -> str:
    where = "all" if one.dialects == tuple(Dialect) else ", ".join(_NAMES[dialect] for dialect in one.dialects)
    value = f"`{one.value}`" if one.value else "as it is"
    return f"| `{one.name}` | {where} | {value} | {one.why} |"
