"""Providers and their faces: how to reach a vendor, or any server that speaks a dialect."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.kernel.dialect import MODEL, VERB, Dialect
from services.kernel.errors import InvalidInput
from services.kernel.header_names import read_allowed
from services.kernel.names import check_name
from services.router.domain.address import BaseUrl, Origin, parse_base_url
from services.router.domain.secret import SecretReference, check_reference


class Preset(StrEnum):
    """A vendor with known faces."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"


@dataclass(frozen=True, slots=True)
class Face:
    """One way to reach a provider: a dialect, its endpoint and the header for the credential."""

    dialect: Dialect
    origin: Origin
    path: str
    """Path of the chat endpoint. Gemini's contains "{model}" and "{verb}"."""
    credential_header: str
    credential_prefix: str
    """Prefix of the credential in its header: "Bearer " or nothing."""
    output_cap_field: str
    """Field that bounds the output. "outer.inner" is one level deeper."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A configured provider: either a preset, or a protocol with a base URL."""

    name: str
    api_key: SecretReference
    preset: Preset | None = None
    protocol: Dialect | None = None
    base_url: str = ""
    allowed_headers: tuple[str, ...] = ()
    """Headers that pass in both directions besides those that always do."""
    stops_on_disconnect: bool = False
    """Declared, and trusted: it stops generating, and billing, when its client hangs up."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """What distinguishes the faces of a vendor: everything but the origin."""

    dialect: Dialect
    path: str
    output_cap_field: str


_GEMINI_PATH = f"/v1beta/models/{MODEL}:{VERB}"
_GEMINI_CAP = "generationConfig.maxOutputTokens"
_VENDOR_BASE = {
    Preset.OPENAI: "https://api.openai.com/v1",
    Preset.ANTHROPIC: "https://api.anthropic.com",
    Preset.GEMINI: "https://generativelanguage.googleapis.com",
}
# The vendor's own dialect comes first, because it carries most.
_SHAPES = {
    Preset.OPENAI: (_Shape(Dialect.OPENAI, "/v1/chat/completions", "max_completion_tokens"),),
    Preset.ANTHROPIC: (
        _Shape(Dialect.ANTHROPIC, "/v1/messages", "max_tokens"),
        _Shape(Dialect.OPENAI, "/v1/chat/completions", "max_tokens"),
    ),
    Preset.GEMINI: (
        _Shape(Dialect.GEMINI, _GEMINI_PATH, _GEMINI_CAP),
        _Shape(Dialect.OPENAI, "/v1beta/openai/chat/completions", "max_tokens"),
    ),
}
# Paths behind a base URL, which ends where the dialect's own SDK expects it to.
_ANY_SERVER = {
    Dialect.OPENAI: _Shape(Dialect.OPENAI, "/chat/completions", "max_tokens"),
    Dialect.ANTHROPIC: _Shape(Dialect.ANTHROPIC, "/v1/messages", "max_tokens"),
    Dialect.GEMINI: _Shape(Dialect.GEMINI, _GEMINI_PATH, _GEMINI_CAP),
}
_CREDENTIAL = {
    Dialect.OPENAI: ("authorization", "Bearer "),
    Dialect.ANTHROPIC: ("x-api-key", ""),
    Dialect.GEMINI: ("x-goog-api-key", ""),
}
_CATALOGUE = {Preset.OPENAI: "openai", Preset.ANTHROPIC: "anthropic", Preset.GEMINI: "google"}


def check_provider(field: str, provider: Provider) -> Provider:
    """Returns `provider` if it can be reached as configured.

    Raises:
        InvalidInput: it cannot, or it refers to something that a configuration may not read.
    """
    check_name(f"{field}.name", provider.name)
    check_reference(f"{field}.api_key", provider.api_key)
    if provider.preset is None and provider.protocol is None:
        raise InvalidInput(f"{field}.preset", "name a preset, or set protocol and base_url")
    if provider.preset is not None and provider.protocol is not None:
        raise InvalidInput(f"{field}.protocol", f"the preset {provider.preset} already says it: leave protocol out")
    if provider.preset is None and not provider.base_url:
        raise InvalidInput(f"{field}.base_url", "a provider without a preset needs the base URL of its server")
    if provider.base_url:
        parse_base_url(f"{field}.base_url", provider.base_url)
    read_allowed(f"{field}.headers.allow", provider.allowed_headers)
    return provider


def faces_of(provider: Provider) -> tuple[Face, ...]:
    """Returns the faces of a checked provider, preferred ones first."""
    if provider.preset is not None:
        base = _preset_base(provider.preset, provider.base_url)
        return tuple(_face(base, shape) for shape in _SHAPES[provider.preset])
    assert provider.protocol is not None, "check_provider lets nothing else through"  # noqa: S101
    return (_face(parse_base_url("base_url", provider.base_url), _ANY_SERVER[provider.protocol]),)


def catalogue_provider(provider: Provider) -> str:
    """Returns the vendor's name in the price catalogue. Empty when the vendor is unknown."""
    return _CATALOGUE[provider.preset] if provider.preset is not None else ""


def _preset_base(preset: Preset, base_url: str) -> BaseUrl:
    base = parse_base_url("base_url", base_url or _VENDOR_BASE[preset])
    # OpenAI's SDK takes a base URL that ends in /v1. Faces of all vendors contain the complete path.
    path = base.path.removesuffix("/v1") if preset is Preset.OPENAI else base.path
    return BaseUrl(base.origin, path)


def _face(base: BaseUrl, shape: _Shape) -> Face:
    header, prefix = _CREDENTIAL[shape.dialect]
    return Face(shape.dialect, base.origin, base.path + shape.path, header, prefix, shape.output_cap_field)
