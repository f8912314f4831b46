from __future__ import annotations

import re

import pytest

from services.kernel.errors import InvalidInput
from services.kernel.names import check_origin, host_pattern


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.com",
        "http://localhost:3000",
        "https://example.com:8443",
        "https://*.example.com",
        "https://*.example.co.uk:8443",
        "http://[::1]:8080",
        "https://xn--bcher-kva.example",
    ],
)
def test_an_origin_as_browsers_send_it_is_taken(origin: str) -> None:
    assert check_origin("origins[0]", origin) == origin


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("app.example.com", "https://app.example.com"),
        ("localhost:3000", "http://localhost:3000"),
        ("https://app.example.com/", "https://app.example.com"),
        ("https://app.example.com/path?x=1", "https://app.example.com"),
        ("https://App.Example.com", "https://app.example.com"),
        ("HTTPS://app.example.com", "https://app.example.com"),
        ("https:/app.example.com", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://app.example.com:80/", "http://app.example.com"),
        (" https://app.example.com", "https://app.example.com"),
    ],
)
def test_another_spelling_is_refused_and_the_right_one_suggested(wrong: str, meant: str) -> None:
    with pytest.raises(InvalidInput, match=f"did you mean '{re.escape(meant)}'"):
        check_origin("origins[0]", wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "*",
        "null",
        "https://*",
        "https://*.com",
        "https://app.*.com",
        "https://*app.example.com",
        "*.example.com",
        "ftp://app.example.com",
        "file:///home",
        "https://user:pw@app.example.com",
        "https://app.example.com:99999",
        "https://app.example.com:0",
        "https://bücher.example",
        "https://a..example.com",
        "https://-a.example.com",
        "https://app.example.com\r\nx: y",
        "https://" + "a." * 200 + "com",
    ],
)
def test_what_no_browser_sends_or_everybody_could_be_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidInput, match=r"write an origin like|did you mean"):
        check_origin("origins[0]", wrong)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://a.example.com", True),
        ("https://a.b.example.com", True),
        ("https://example.com", False),
        ("https://.example.com", False),
        ("https://evilexample.com", False),
        ("https://a.example.com.evil.net", False),
        ("https://a.example.com:8443", False),
        ("http://a.example.com", False),
        ("https://a.example-com", False),
        ("https://evil.net/.example.com", False),
    ],
)
def test_a_pattern_means_the_hosts_below_its_domain_and_no_others(origin: str, allowed: bool) -> None:
    pattern = host_pattern("https://*.example.com")

    assert pattern is not None
    assert (re.fullmatch(pattern, origin) is not None) is allowed
    assert host_pattern("https://app.example.com") is None
