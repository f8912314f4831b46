"""The facts that Envoy's scan reports about a request, and the amounts that a call takes."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.kernel.endpoint import Operation
from services.kernel.limit_kind import LimitKind

FETCHED = frozenset({"files", "stored_input", "server_tools"})
"""The features of requests whose input does not follow from their bytes."""


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """The facts that Envoy's scan reports about a request."""

    body_bytes: int
    data_uri_bytes: int = 0
    """The part of the body that is image data, not text."""
    images: int = 0
    audio_bytes: int = 0
    """The part of the body that is audio data."""
    growth_bytes: int = 0
    """The growth of the body's numbers, on top of its bytes, if a server writes them out again."""
    choices: int = 1
    max_output_tokens: int | None = None
    """The client's bound for each choice. None: the client gave none."""
    thinking_tokens: int = 0
    """The thinking budget of the request, a part of the output of each choice. 0: none."""
    features: frozenset[str] = field(default=frozenset())
    """Names as in `services.kernel.envoy_contract.RequestKey.FEATURES`."""
    stream: bool = False
    include_usage: bool = False
    """The client asked for the usage chunk of an OpenAI stream itself."""
    unknown_members: tuple[str, ...] = ()
    """The paths of members that the scan does not know, and unknown header values."""
    window_tokens: int = 0
    """The context window that a header of the request opens; 0: the target's own."""
    price_options: tuple[str, ...] = ()
    """The parts that change its price, named as in `services.kernel.envoy_contract.RequestKey.PRICE_OPTIONS`."""
    operation: Operation = Operation.CHAT

    @property
    def text_bytes(self) -> int:
        """The bytes of the body without its image data."""
        return max(0, self.body_bytes - self.data_uri_bytes) if self.data_uri_bytes else self.body_bytes

    @property
    def reaches_beyond(self) -> bool:
        """Whether there may be input from beyond the bytes of the request."""
        return bool(self.unknown_members) or (bool(self.features) and not self.features.isdisjoint(FETCHED))


@dataclass(frozen=True, slots=True)
class Tokens:
    """The input and output tokens of a call."""

    input: int
    output: int


@dataclass(frozen=True, slots=True)
class Amounts:
    """The amount that a call takes in each kind of limit."""

    cost_nano_usd: int
    input_tokens: int
    output_tokens: int
    calls: int = 1
    typical: Amounts | None = None
    """The amounts that the call holds in soft limits instead; None if none applies."""

    def held_in(self, kind: LimitKind, *, soft: bool) -> int:
        """The amount that a call holds in a limit of this kind; never more than the most that it can take."""
        if not kind.is_held:
            return 0
        most = kind.measure(self)
        return min(most, kind.measure(self.typical)) if soft and self.typical is not None else most

    def of(self, kind: LimitKind) -> int:
        """The most that a call in flight takes of this kind."""
        return kind.measure(self) if kind.is_held else 0
