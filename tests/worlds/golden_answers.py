"""Awkward answers of providers, with their usage and cost: `tests/contract/golden/answers`.

Each file is a list for one dialect. An answer has a `body` in parts (text, `{"hex": ...}` for bytes that are no text,
`{"repeat": ..., "times": ...}` for what is long), the `meter` state that the line of the call says, the `usage`, the
`nano_usd` at a price of `prices.json`, null where it is unknown, and `passed`, what a client is sent who did not ask
for usage, where that is not the body. `breaks` is true for a stream without its end mark: its client is told. The
figures were worked out by hand, from the vendors' documentation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from services.kernel.money import PicoUsdPerToken
from services.kernel.price import Price, PriceTier
from services.kernel.usage import Usage

FOLDER = Path(__file__).parents[1] / "contract" / "golden" / "answers"
BROKE_OFF = (
    b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":'
    b'"The provider @PROVIDER@ did not complete its answer: the stream broke off."},"request_id":""}\n\n'
)
DIALECTS = ("openai", "anthropic", "gemini")


@dataclass(frozen=True)
class GoldenAnswer:
    """One answer, and its right figures."""

    dialect: str
    name: str
    stream: bool
    body: bytes
    state: str
    price: Price
    usage: Usage | None
    nano_usd: int | None
    passed: bytes
    breaks: bool

    def seen_from(self, provider: str) -> bytes:
        """What a client sees of it: all of it, and an error if it breaks. Only streams of Anthropic's do here."""
        return self.body + BROKE_OFF.replace(b"@PROVIDER@", provider.encode()) if self.breaks else self.body

    def __str__(self) -> str:
        return f"{self.dialect} {'stream' if self.stream else 'JSON'}: {self.name}"


def load_answers() -> list[GoldenAnswer]:
    """All of them."""
    prices = {name: _price(**each) for name, each in orjson.loads((FOLDER / "prices.json").read_bytes()).items()}
    return [
        _answer(dialect, each, prices)
        for dialect in DIALECTS
        for each in orjson.loads((FOLDER / f"{dialect}.json").read_bytes())
    ]


def _answer(dialect: str, case: dict[str, Any], prices: dict[str, Price]) -> GoldenAnswer:
    body = b"".join(map(_part, case["body"]))
    return GoldenAnswer(
        dialect=dialect,
        name=case["name"],
        stream=case["kind"] == "sse",
        body=body,
        state=case["meter"],
        price=prices[case["price"]],
        usage=None if case["usage"] is None else Usage(**case["usage"]),
        nano_usd=case["nano_usd"],
        passed=case["passed"].encode() if "passed" in case else body,
        breaks=case.get("breaks", False),
    )


def _part(part: str | dict[str, Any]) -> bytes:
    if isinstance(part, str):
        return part.encode()
    return bytes.fromhex(part["hex"]) if "hex" in part else part["repeat"].encode() * int(part["times"])


def _price(rates: dict[str, int], service_tiers: dict[str, dict[str, int]] | None = None) -> Price:
    others = {name: (_tier(each),) for name, each in (service_tiers or {}).items()}
    return Price((_tier(rates),), service_tiers=others)


def _tier(rates: dict[str, int]) -> PriceTier:
    return PriceTier(0, {name: PicoUsdPerToken(rate) for name, rate in rates.items()})


def pieces_of(body: bytes, size: int) -> Iterable[bytes]:
    """`body` in pieces of this many bytes."""
    return (body[at : at + size] for at in range(0, len(body), size))
