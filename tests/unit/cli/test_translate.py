from __future__ import annotations

from pathlib import Path

from google.protobuf.json_format import MessageToDict

from services.cli import translate
from services.cli.configuration import ConfigurationFile, read_configuration
from services.cli.key_secrets import KeySecrets

TEXT = """\
version: 1
organization: acme
environments: [dev, prod]
default_policies: false
providers:
  lab: {protocol: openai, base_url: "http://127.0.0.1:8081/v1", api_key: none}
  claude: {preset: anthropic, api_key: {file: claude-key}, stops_on_disconnect: true}
models:
  chat:
    targets: [[lab/a, {claude/b: 3}], lab/c]
    fallbacks:
      - {to: [lab/d], when: {budget_used: 75.5%}}
      - {to: [lab/e], when: {all: [{error_rate: 20%, over: 1m}, {ttft_p95: 800ms, over: 5m}]}}
      - {to: [lab/f]}
    first_byte_timeout: 30s
    aliases: [other, another]
prices:
  lab/a:
    {input: 2.50, cached_input: 0, output: 10, request: 0.01, web_search: 0.01,
     service_tiers: {priority: {input: 5, output: 20, image: 5, image_output: 6}}}
teams:
  ds: {projects: [p], members: [ada@example.com]}
channels:
  finance: {webhook: "https://example.com/hook", secret: {env: HOOK}}
policies:
  - name: dev
    match: {environment: dev}
    each: user
    limits: [{spend: 12.345, per: month, timezone: Europe/Berlin}, {requests: 5, per: minute}]
    thresholds: [{at: 95%, notify: []}, {at: 80%, notify: [finance]}]
    mode: shadow
    exhausted_status: 402
    unpriced: allow
    on_store_failure: {serve_up_to: 2.50}
    unmeasured: estimate
    unknown_members: refuse
keys:
  - {name: app, team: ds, user: ada@example.com, models: [chat], expires: 2027-01-01, secret: {env: APP},
     unlimited: true}
"""


def _file() -> ConfigurationFile:
    return read_configuration("f.yaml", TEXT, folder=Path("/")).file


def _rates(**rates: str) -> list[dict[str, str]]:
    """Rates in pico-USD per token, and per search."""
    return [{"meter": meter, "pico_usd": rate} if rate != "0" else {"meter": meter} for meter, rate in rates.items()]


def test_prices_and_channels_go_to_the_ledger() -> None:
    sent = MessageToDict(translate.ledger_request(_file(), validate_only=True), preserving_proto_field_name=True)
    # A price of zero is a price. The price engine fills in what the file leaves out.
    tier = {
        "rates": _rates(input="2500000", output="10000000", cached_input="0", web_search="10000000000"),
    }
    priority = {
        # `image` is both that are read and that are made.
        "rates": _rates(input="5000000", output="20000000", image_input="5000000", image_output="6000000"),
    }
    price = {
        "tiers": [tier],
        "request_nano_usd": "10000000",
        "service_tiers": [{"service_tier": "priority", "tiers": [priority]}],
    }
    assert sent == {
        "prices": [{"target": "lab/a", "price": price}],
        "channels": [{"name": "finance", "webhook": "https://example.com/hook", "secret_env": "HOOK"}],
        "validate_only": True,
    }


def test_providers_and_models_go_to_the_router() -> None:
    sent = MessageToDict(translate.router_request(_file(), validate_only=False), preserving_proto_field_name=True)
    assert sent["providers"] == [
        {
            "name": "lab",
            "protocol": "DIALECT_OPENAI",
            "base_url": "http://127.0.0.1:8081/v1",
            "api_key": {"none": True},
        },
        {
            "name": "claude",
            "preset": "anthropic",
            "api_key": {"file": "claude-key"},
            "stops_on_disconnect": True,
        },
    ]
    (model,) = sent["models"]
    assert model["targets"] == [
        {"targets": [{"target": "lab/a", "weight": 1}, {"target": "claude/b", "weight": 3}]},
        {"targets": [{"target": "lab/c", "weight": 1}]},
    ]
    assert [fallback.get("when") for fallback in model["fallbacks"]] == [
        {"terms": [{"budget_used_basis_points": 7550}]},
        {
            "all": True,
            "terms": [
                {"error_rate_basis_points": 2000, "period": "60s"},
                {"ttft_p95": "0.800s", "period": "300s"},
            ],
        },
        None,
    ]
    assert model["first_byte_timeout"] == "30s"
    assert model["aliases"] == ["other", "another"]


def test_headers_that_a_provider_adds_go_to_the_router() -> None:
    headers = "    headers: {allow: [X-Title, http-referer]}\n"
    text = TEXT.replace("providers:\n", f"providers:\n  web:\n    preset: openai\n    api_key: none\n{headers}")
    sent = translate.router_request(read_configuration("f.yaml", text, folder=Path("/")).file, validate_only=False)
    (web,) = (provider for provider in sent.providers if provider.name == "web")
    assert list(web.headers.allow) == ["x-title", "http-referer"]


def test_teams_policies_and_keys_go_to_quota() -> None:
    request = translate.quota_request(_file(), KeySecrets({"app": "a-secret-of-16-or-more"}, {}), validate_only=False)
    sent = MessageToDict(request, preserving_proto_field_name=True)
    assert sent["organization"] == "acme"
    assert (sent["environments"], sent["models"]) == (["dev", "prod"], ["chat"])
    assert sent["teams"] == [{"name": "ds", "projects": ["p"], "members": ["ada@example.com"]}]
    assert sent["policies"] == [
        {
            "name": "dev",
            "match": {"environment": "dev"},
            "each": "DIMENSION_USER",
            "limits": [
                {
                    "kind": "LIMIT_KIND_SPEND",
                    "amount": {"currency_code": "USD", "units": "12", "nanos": 345_000_000},
                    "per": "WINDOW_UNIT_MONTH",
                    "time_zone": "Europe/Berlin",
                },
                {"kind": "LIMIT_KIND_REQUESTS", "count": "5", "per": "WINDOW_UNIT_MINUTE"},
            ],
            "thresholds": [
                {"basis_points": 8000, "notify": ["finance"], "action": "ACTION_NOTIFY"},
                {"basis_points": 9500, "action": "ACTION_NOTIFY"},
            ],
            "mode": "MODE_SHADOW",
            "exhausted_status": 402,
            "allows_unpriced": True,
            "store_failure_allowance": {"currency_code": "USD", "units": "2", "nanos": 500_000_000},
            "estimates_unmeasured": True,
            "refuses_unknown_members": True,
        }
    ]
    assert sent["keys"] == [
        {
            "virtual_key": {
                "name": "app",
                "attribution": {"team": "ds", "user": "ada@example.com"},
                "models": ["chat"],
                "expire_time": "2027-01-01T00:00:00Z",
                "unlimited": True,
            },
            "secret": "a-secret-of-16-or-more",
        }
    ]
