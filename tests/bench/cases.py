"""The requests that the bench sends, and which gateway gets which of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.bench.gateways import FAR, LONG_FAR, LONG_NEAR, MODELS, NEAR, OUTPUT_TOKENS, Gateway
from tests.bench.upstream import SLOW_MODEL

RATE_PER_S = 350.0
CONNECTIONS = 32
_WORDS = 'The quarterly forecast says that revenue grows while costs stay flat, and \\"churn\\" falls by half.\n'
_WORDS_NOT_ASCII = "季度预测显示收入增长而成本保持不变。 Der Rückgang beträgt die Hälfte.\n"


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of request."""

    name: str
    prompt_bytes: int
    stream: bool
    dialect: str = "openai"
    words: str = _WORDS
    """The text that the prompt repeats."""
    image_bytes: int = 0
    """Bytes of the base64 image that comes with the prompt; 0: none."""
    rate_per_s: float = RATE_PER_S
    slow: bool = False
    """It asks for the model that takes `SLOW_S`."""
    connections: int = CONNECTIONS
    model: str = ""
    """Another model than that of the dialect."""

    @property
    def body(self) -> str:
        """A chat request with a prompt of about `prompt_bytes`: a system text, and a user's text for the rest."""
        filler = self.words.encode() * (self.prompt_bytes // len(self.words.encode()) + 1)
        text = filler[: self.prompt_bytes].decode(errors="ignore")
        if self.dialect == "gemini":
            contents = [{"role": "user", "parts": [{"text": text}]}]
            return _json({"contents": contents, "generationConfig": {"maxOutputTokens": OUTPUT_TOKENS}})
        system = [{"role": "system", "content": "You are terse."}] if self.dialect == "openai" else []
        messages = [*system, {"role": "user", "content": self._parts(text) if self.image_bytes else text}]
        model = self.model or (SLOW_MODEL if self.slow else MODELS[self.dialect])
        request = {"model": model, "messages": messages, "max_tokens": OUTPUT_TOKENS, "temperature": 0}
        return _json({**request, "stream": True} if self.stream else request)

    def _parts(self, text: str) -> list[dict[str, Any]]:
        letters = base64.b64encode(bytes(range(256)) * (self.image_bytes // 256)).decode()
        url = f"data:image/png;base64,{letters[: self.image_bytes // 4 * 4]}"
        return [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]


def _json(request: dict[str, Any]) -> str:
    return json.dumps(request, ensure_ascii=False)


PEAK_RATE = 0.0
"""The rate of a closed loop."""
PEAK = "peak"
"""Row of the closed loop among the measurements of CPU time."""
CASES = (
    Case("JSON, 2 KB prompt", 2_000, stream=False),
    Case("JSON, 100 KB prompt", 100_000, stream=False),
    Case("SSE of 100 chunks, 2 KB prompt", 2_000, stream=True),
    Case("SSE of 100 chunks, 100 KB prompt", 100_000, stream=True),
)
PLAIN, LARGE = CASES[:2]

SCANS = (
    *(case for case in CASES if not case.stream),
    Case("JSON, 25 KB prompt, not ASCII", 25_000, stream=False, words=_WORDS_NOT_ASCII),
    # As large as a plain Envoy buffers, and seldom: the driver and the provider share a core.
    Case("JSON, image of 1 MB", 200, stream=False, image_bytes=1_000_000, rate_per_s=50),
)
"""The cases of the scan alone, which is compared with a plain Envoy."""

SLOW = tuple(
    Case(f"{rate:g}/s", 2_000, stream=False, rate_per_s=rate, slow=True, connections=64)
    for rate in (10.0, 100.0, 200.0, RATE_PER_S, PEAK_RATE)
)
"""What a caller notices who waits for a model anyway, from idle to as many calls as the gateway answers."""
SLOW_GATEWAYS = ("direct", "raw", "everything")

DIALECTS = tuple(MODELS)
STREAMS = {
    (dialect, stream): Case(f"{dialect}, {'SSE of 100 chunks' if stream else 'JSON'}", 2_000, stream, dialect)
    for dialect in DIALECTS
    for stream in (False, True)
}
"""The cases of streams and JSON answers in each dialect, in the chain alone."""

_TRANSLATED = (
    (Case("JSON, 2 KB prompt", 2_000, stream=False), NEAR, FAR),
    (Case("JSON, 100 KB prompt", 100_000, stream=False), NEAR, FAR),
    (Case("JSON, image of 5 MB", 200, stream=False, image_bytes=5_000_000, rate_per_s=5, connections=4), NEAR, FAR),
    (Case("SSE of 200 chunks in one burst, 2 KB prompt", 2_000, stream=True), LONG_NEAR, LONG_FAR),
)
TRANSLATED = {
    case.name: tuple(
        replace(case, name=f"{case.name}, {kind}", model=model)
        for kind, model in (("as it is", near), ("translated", far))
    )
    for case, near, far in _TRANSLATED
}
"""The same call in OpenAI's dialect to a provider that speaks it and to one of Anthropic's, in the whole gateway."""


def pairs(gateways: Sequence[Gateway]) -> Iterator[tuple[Gateway, Case]]:
    """Each gateway with each case that it is measured with, interleaved."""
    for case in dict.fromkeys((*CASES, *SCANS)):
        for gateway in gateways:
            if case in (SCANS if gateway.is_part else CASES) or (case in SCANS and gateway.name == "raw"):
                yield gateway, case
    chain = next(gateway for gateway in gateways if gateway.name == "chain")
    for case in STREAMS.values():
        yield chain, case
    whole = next(gateway for gateway in gateways if gateway.name == "everything")
    for both in TRANSLATED.values():
        for case in both:
            yield whole, case
    for case in SLOW:
        for gateway in gateways:
            if gateway.name in SLOW_GATEWAYS:
                yield gateway, case
