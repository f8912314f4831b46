"""The worked example of the product brief loads as it stands, and behaves as its comments say."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest
from ruamel.yaml import YAML

from services.simulator.faults import Fault, FaultKind
from services.simulator.provider import Vendor
from tests.worlds.gateway import Gateway, Providers, new_key_secret, run_command, run_gateway

pytestmark = pytest.mark.e2e

BRIEF = Path(__file__).parents[1] / "data" / "brief.yaml"
# A thousand times the vendors' prices, so that a budget of $2 000 is spent in a few calls.
PRICES = {
    "anthropic/claude-sonnet-4-5": {"input": 3_000, "output": 15_000},
    "anthropic/claude-haiku-4-5": {"input": 1_000, "output": 5_000},
    "openai/gpt-4o-mini": {"input": 150, "output": 600},
}


@pytest.fixture(scope="module")
def gateway(vendors: Providers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    document = YAML(typ="safe").load(BRIEF)
    for name, provider in document["providers"].items():
        provider["base_url"] = vendors.configuration[name]["base_url"]
    document["prices"] = PRICES
    secrets = {"DS_PROD_KEY": new_key_secret(), "DS_DEV_KEY": new_key_secret(), "FINANCE_HOOK_SECRET": "whsec_c2VjcmV0"}
    environment = {**vendors.environment, **secrets}
    folder = tmp_path_factory.mktemp("brief")
    with run_gateway(folder, document, environment=environment) as running:
        running.key_secrets = {"prod": secrets["DS_PROD_KEY"], "dev": secrets["DS_DEV_KEY"]}
        yield running


def test_it_loads_as_it_stands() -> None:
    checked = run_command("check", "-f", str(BRIEF), environment={"DS_PROD_KEY": "k" * 32, "DS_DEV_KEY": "d" * 32})
    assert checked.returncode == 0, checked.stderr


def _thresholds(gateway: Gateway) -> list[dict[str, Any]]:
    return [each for each in gateway.json("alerts", "list")["alerts"] if each["kind"] == "threshold"]


def test_a_month_of_production(gateway: Gateway, providers: Providers) -> None:
    """Sonnet until 75 %, Haiku from there on, the threshold at 80 %, and no dollar more than 2 000."""
    assert _served(gateway, "prod", tokens=6_000) == "anthropic/claude-sonnet-4-5"
    while _used(gateway) < 1_500:
        assert _served(gateway, "prod", tokens=6_000) == "anthropic/claude-sonnet-4-5"
    assert not gateway.json("alerts", "list")["alerts"]

    assert _served(gateway, "prod", tokens=6_000) == "anthropic/claude-haiku-4-5"
    while _used(gateway) < 1_600:
        assert not _thresholds(gateway)
        assert _served(gateway, "prod", tokens=6_000) == "anthropic/claude-haiku-4-5"
    (alert,) = _thresholds(gateway)
    assert alert["policy"] == "data-science-prod"
    assert set(alert["recipients"]) == {"team-lead", "platform", "finance"}

    with pytest.raises(openai.RateLimitError) as refused:
        _serve_until_refused(gateway)
    assert refused.value.type == "insufficient_quota"
    assert 1_900 < _used(gateway) <= 2_000
    assert len(_thresholds(gateway)) == 1

    # Development is another budget on the same infrastructure, and is not even touched.
    assert gateway.budget("data-science-prod")["limit_usd"] == "2000.000000000"
    assert _served(gateway, "dev", tokens=100) == "anthropic/claude-sonnet-4-5"
    gateway.settle()
    booked = {row["environment"]: row["cost_usd"] for row in gateway.usage("environment")["usage"]}
    for environment in ("prod", "dev"):
        assert gateway.budget(f"data-science-{environment}")["settled_usd"] == booked[environment]


def test_another_provider_serves_when_this_one_fails(gateway: Gateway, providers: Providers) -> None:
    providers.fault(Vendor.ANTHROPIC, Fault(FaultKind.STATUS, status=500, times=None))
    assert _served(gateway, "dev", tokens=100) == "openai/gpt-4o-mini"


def _served(gateway: Gateway, environment: str, tokens: int) -> str:
    """Asks for an answer of this length; which target gave it."""
    ask: Any = [{"role": "user", "content": f"Answer in {tokens} tokens."}]
    raw = gateway.openai(environment).chat.completions.with_raw_response.create(
        model="claude-sonnet-4", messages=ask, max_tokens=tokens
    )
    gateway.settle()
    return str(raw.headers["x-spendgate-model-served"])


def _serve_until_refused(gateway: Gateway) -> None:
    while _used(gateway) <= 2_000:
        _served(gateway, "prod", tokens=6_000)


def _used(gateway: Gateway) -> Decimal:
    return Decimal(gateway.budget("data-science-prod")["settled_usd"])
