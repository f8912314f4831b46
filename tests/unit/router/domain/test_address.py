from __future__ import annotations

import pytest

from services.kernel.errors import InvalidInput
from services.router.domain.address import Origin, parse_base_url


@pytest.mark.parametrize(
    ("text", "host_header", "path"),
    [
        ("https://api.openai.com/v1", "api.openai.com", "/v1"),
        ("http://127.0.0.1:8081/v1/", "127.0.0.1:8081", "/v1"),
        ("http://[::1]:8081", "[::1]:8081", ""),
        ("http://model_server.internal.", "model_server.internal", ""),
        ("HTTPS://Host:443/a/b", "host", "/a/b"),
        ("http://host:443", "host:443", ""),
    ],
)
def test_a_base_url_is_read_into_origin_and_path(text: str, host_header: str, path: str) -> None:
    base = parse_base_url("base_url", text)
    assert (base.origin.host_header, base.path) == (host_header, path)


def test_the_origin_says_where_to_connect() -> None:
    assert parse_base_url("base_url", "https://api.example.com").origin == Origin(True, "api.example.com", 443)
    assert parse_base_url("base_url", "http://[2001:db8::0:1]").origin == Origin(False, "2001:db8::1", 80)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.169.254.",
        "2852039166",
        "0xa9fea9fe",
        "0xA9.0xFE.0xA9.0xFE",
        "0251.0376.0251.0376",
        "169.254.43518",
        "169.16689662",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[febf:ffff::1]",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[::169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::1]",
        "[64:ff9b:1::a9fe:a9fe]",
        "169.254.170.2",
        "168.63.129.16",
        "0xa83f8110",
        "0250.077.0201.020",
        "[::ffff:168.63.129.16]",
        "100.100.100.200",
        "1684301000",
        "192.0.0.192",
        "[::ffff:c000:c0]",
        "[fd00:ec2::254]",
        "[FD00:0EC2:0:0:0:0:0:0254]",
        "[fd20:ce::254]",
        "[fd00:42::42]",
        "metadata.google.internal",
        "Metadata.Google.Internal.",
        "metadata",
        "METADATA.",
        "any.metadata.goog",
        "instance-data.ec2.internal",
        "metadata.tencentyun.com",
    ],
)
def test_a_metadata_service_is_refused_however_it_is_spelt(host: str) -> None:
    with pytest.raises(InvalidInput, match="metadata service"):
        parse_base_url("base_url", f"http://{host}/v1")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.0.0.7",
        "192.168.1.2",
        "100.100.100.201",
        "168.63.129.17",
        "[::1]",
        "[fd00::7]",
        "[fd12:ec2::254]",
    ],
)
def test_a_server_of_ones_own_on_loopback_or_a_private_address_is_none(host: str) -> None:
    assert parse_base_url("base_url", f"http://{host}:8081/v1").origin.port == 8081


@pytest.mark.parametrize("host", ["metadata.example.com", "my-metadata", "metadata.internal", "instance-data.example"])
def test_a_name_that_only_resembles_one_is_none(host: str) -> None:
    assert parse_base_url("base_url", f"http://{host}/v1").origin.hostname == host


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1"])
def test_an_odd_spelling_of_an_allowed_address_is_refused_with_the_plain_one(host: str) -> None:
    with pytest.raises(InvalidInput, match=r"write the address as 127\.0\.0\.1"):
        parse_base_url("base_url", f"http://{host}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "api.openai.com/v1",
        "ftp://host",
        "file:///etc/passwd",
        "http://",
        "http:///v1",
        "http://host:0",
        "http://host:",
        "http://host:99999",
        "http://host:port",
        "http://user:word@host",
        "http://@host",
        "http://host/v1?key=1",
        "http://host/v1?",
        "http://host/v1#part",
        "http://host/../admin",
        "http://host/%2e%2e/admin",
        "http://host//v1",
        "http://ho st",
        "http://host\\@evil",
        "http://host\n/v1",
        "http://-host",
        "http://a..b",
        "http://[::1",
        "http://256.256.256.256",
        "http://1.2.3.4.5",
        "http://99999999999999999999",
        "http://\uff11\uff16\uff19.254.169.254",
        "http://" + "a" * 300,
    ],
)
def test_what_is_not_a_plain_base_url_is_refused_with_its_field(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_base_url("providers[3].base_url", text)
    assert caught.value.field == "providers[3].base_url"


def test_a_credential_in_a_url_is_not_repeated_in_the_error() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_base_url("base_url", "http://user:sk-very-secret@host")
    assert "sk-very-secret" not in str(caught.value)
