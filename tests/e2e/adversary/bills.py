"""The providers' price list, and what they charge: whole nano-USD, by arithmetic of their own."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.e2e.adversary.asking import Asked, remote

# Nano-USD for each token: $100 and $200 for a million of them. So small bodies already cost enough.
INPUT, CACHED, CACHE_5M, CACHE_1H, OUTPUT = 100_000, 10_000, 125_000, 200_000, 200_000
AUDIO, SPEECH = 10 * INPUT, 8 * OUTPUT
SEARCH = 1_000_000_000
DEAR = 40
"""The factor for any model other than the intended one."""
PRICE = {"input": 100, "cached_input": 10, "cache_write_5m": 125, "cache_write_1h": 200, "output": 200}
"""The same for the gateway, in dollars for a million tokens: of text. It does not know the rest."""

_TIERS = {"priority": (2, 1), "flex": (1, 2), "batch": (1, 2)}
# Headers by which vendors and the gateways of others change what is served, and by which factor that costs more.
_DEAR_HEADERS = {
    "x-portkey-config": DEAR,
    "x-portkey-provider": DEAR,
    "x-azureml-model-deployment": DEAR,
    "x-litellm-model": DEAR,
    "helicone-model-override": DEAR,
    "x-model": DEAR,
    "x-original-url": DEAR,
    "x-rewrite-url": DEAR,
    "x-forwarded-uri": DEAR,
    "x-vertex-ai-llm-shared-request-type": 2,
    "x-amzn-bedrock-service-tier": 2,
    "x-dashscope-plugin": DEAR,
}


@dataclass(slots=True)
class Bill:
    """What one request costs. `output` grows while the provider writes."""

    asked: Asked
    factor: int
    """The factor of the whole bill, in hundredths."""
    output_tokens: int = 0

    @property
    def nano_usd(self) -> int:
        """The amount so far."""
        asked = self.asked
        dear_input = CACHE_1H if asked.writes_cache_1h else CACHE_5M if asked.writes_cache else INPUT
        spoken = min(asked.audio, asked.input)
        cost = (asked.input - spoken) * dear_input + spoken * AUDIO
        cost += self.output_tokens * (SPEECH if asked.speaks else OUTPUT)
        return cost * self.factor // 100 + asked.searches * SEARCH


@dataclass(slots=True)
class Books:
    """The bills of everybody, by the mark that each request carries in its text."""

    by_mark: dict[str, list[Bill]] = field(default_factory=dict)

    def open(self, mark: str, asked: Asked, headers: dict[str, str], model: str) -> Bill:
        """Opens the bill of a request that is being served. `model`: the intended one."""
        bill = Bill(asked, _factor(asked, headers, model))
        self.by_mark.setdefault(mark, []).append(bill)
        return bill

    def billed(self, mark: str) -> int:
        """All that was billed for a mark, in nano-USD."""
        return sum(bill.nano_usd for bill in self.by_mark.get(mark, ()))


def _factor(asked: Asked, headers: dict[str, str], model: str) -> int:
    factor = 100
    if asked.model not in {"", model, f"models/{model}"}:
        factor *= DEAR
    times, over = _TIERS.get(asked.tier.lower(), (1, 1))
    factor = factor * times // over
    betas = headers.get("anthropic-beta", "")
    if asked.fast:
        factor *= 6
    if asked.region:
        factor = factor * 11 // 10
    if "context-1m" in betas and asked.input > 200_000:
        factor *= 2
    for name, dearer in _DEAR_HEADERS.items():
        if name in headers:
            factor *= dearer
    # A provider that forwards calls accepts the address from the client.
    return factor * (DEAR if remote(headers.get("x-target-url", "")) else 1)
