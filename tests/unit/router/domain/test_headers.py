from __future__ import annotations

from pathlib import Path

import pytest

from services.kernel.dialect import Dialect
from services.kernel.envoy_contract import CREDENTIAL_HEADERS
from services.kernel.errors import InvalidInput
from services.router.domain.headers import (
    ALLOWED_MAX,
    EXPECTED_FROM_CLIENT,
    EXPECTED_FROM_PROVIDER,
    TO_CLIENT,
    TO_PROVIDER,
    Passing,
    may_be_allowed,
    read_allowed,
)

PAGE = Path(__file__).resolve().parents[4] / "docs" / "headers.md"


def test_names_are_read_in_lower_case_and_in_order() -> None:
    assert read_allowed("f", ["X-Title", "http-referer"]) == ("http-referer", "x-title")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("authorization", "credential"),
        ("Set-Cookie", "credential"),
        ("transfer-encoding", "how a body is sent"),
        ("content-type", "how a body is sent"),
        ("host", "how a body is sent"),
        ("x-spendgate-policy", "the gateway itself says"),
        ("x-ratelimit-limit-tokens", "the gateway itself says"),
        ("request-id", "the gateway itself says"),
        ("x-goog-fieldmask", "about its cost"),
        ("x-http-method-override", "about its cost"),
        ("location", "another server"),
        (":path", "not the name of a header"),
        ("x title", "not the name of a header"),
        ("x_title", "underscore"),
        ("", "write the name"),
        ("x" * 65, "at most 64"),
    ],
)
def test_what_may_never_pass_is_refused_with_the_reason(name: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem) as caught:
        read_allowed("providers.a.headers.allow", ["x-fine", name])
    assert caught.value.field == "providers.a.headers.allow[1]"
    assert not may_be_allowed(name)


def test_lists_are_bounded_and_name_each_header_once() -> None:
    with pytest.raises(InvalidInput, match="at most 32"):
        read_allowed("f", [f"x-{at}" for at in range(ALLOWED_MAX + 1)])
    with pytest.raises(InvalidInput, match="twice"):
        read_allowed("f", ["x-title", "X-Title"])


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
