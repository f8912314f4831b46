from __future__ import annotations

import pytest

from services.kernel.errors import InvalidInput
from services.kernel.header_names import ALLOWED_MAX, may_be_allowed, read_allowed


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
