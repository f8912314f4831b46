"""What the scan says about a request, and amounts of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.kernel.limit_kind import LimitKind

FETCHED = frozenset({"files", "stored_input", "server_tools"})
"""Features of requests with input that does not follow from their bytes."""


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What Envoy's scan says about a request."""

    body_bytes: int
    data_uri_bytes: int = 0
    """Of the body: data of its images, not text."""
    images: int = 0
    audio_bytes: int = 0
    """Of the body: data of sound."""
    growth_bytes: int = 0
    """On top of the body: what its numbers may grow by when a server writes them again."""
    choices: int = 1
    max_output_tokens: int | None = None
    """The client's bound for each choice. None: it gave none."""
    thinking_tokens: int = 0
    """Of the output of each choice: the budget for thinking that the request sets. 0: it sets none."""
    features: frozenset[str] = field(default=frozenset())
    """Names as in `services.kernel.envoy_contract.RequestKey.FEATURES`."""
    stream: bool = False
    include_usage: bool = False
    """The client itself asked for the usage chunk of an OpenAI stream."""
    unknown_members: tuple[str, ...] = ()
    """Paths of members that the scan knows no meaning of, and values of headers that nobody knows."""
    window_tokens: int = 0
    """The context window that a header of the request opens; 0: that of the target."""
    price_options: tuple[str, ...] = ()
    """What it asks for that changes its price, as in `services.kernel.envoy_contract.RequestKey.PRICE_OPTIONS`."""

    @property
    def text_bytes(self) -> int:
        """All of the body but the data of its images."""
        return max(0, self.body_bytes - self.data_uri_bytes)

    @property
    def reaches_beyond(self) -> bool:
        """Whether input may count that is not in its bytes."""
        return bool(self.unknown_members) or not self.features.isdisjoint(FETCHED)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of a call."""

    input: int
    output: int


@dataclass(frozen=True, slots=True)
class Amounts:
    """What a call takes of each kind of limit."""

    cost_nano_usd: int
    input_tokens: int
    output_tokens: int
    calls: int = 1
    typical: Amounts | None = None
    """What soft limits hold of the call instead, where one applies."""

    def held_in(self, kind: LimitKind, *, soft: bool) -> int:
        """The amount that a call holds in a limit of this kind. Never more than the most that it can take."""
        most = self.of(kind)
        return min(most, self.typical.of(kind)) if soft and self.typical is not None else most

    def of(self, kind: LimitKind) -> int:
        """The most that a call in flight takes of this kind."""
        return kind.measure(self) if kind.is_held else 0
