"""Providers and their faces: how to reach a vendor, or any server that speaks a dialect."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.kernel.dialect import Dialect, OutputCapField
from services.kernel.endpoint import VERB, Operation, endpoint_of
from services.kernel.errors import InvalidInput
from services.kernel.header_names import read_allowed
from services.kernel.names import check_name
from services.kernel.preset import GEMINI_PATH, METERED, Preset, PresetFace
from services.router.domain.address import BaseUrl, Origin, parse_base_url
from services.router.domain.model_limits import ModelLimits, limits_of
from services.router.domain.provided_model import ProvidedModel, check_provided_models
from services.router.domain.secret import SecretReference, check_reference
from services.router.domain.translation import TRANSLATIONS


@dataclass(frozen=True, slots=True)
class Face:
    """One way to reach a provider: a dialect, its endpoint and the header for the credential."""

    dialect: Dialect
    origin: Origin
    path: str
    """Path of the chat endpoint. Gemini's contains "{model}" and "{verb}"."""
    operations: frozenset[Operation]
    """What it serves."""
    credential_header: str
    credential_prefix: str
    """Prefix of the credential in its header: "Bearer " or nothing."""
    output_cap_field: OutputCapField
    usage_unasked: bool = False
    """See `PresetFace`."""
    translated_to: Dialect | None = None
    """The dialect of the provider, if calls in `dialect` must be translated."""

    @property
    def asked(self) -> Operation:
        """The operation that its clients ask for, if it is translated; of any other face, that of its chat."""
        if self.translated_to is None:
            return Operation.CHAT
        [operation] = self.operations
        return operation

    @property
    def name(self) -> str:
        """Tells the faces of a provider apart: its dialect, and the operation if that is not a chat."""
        return str(self.dialect) if self.asked is Operation.CHAT else f"{self.dialect}-{self.asked}"

    def is_chat(self, operation: Operation) -> bool:
        """Whether an operation that it serves is a chat at the provider. All that is translated is one."""
        return operation is Operation.CHAT or self.translated_to is not None

    def path_of(self, operation: Operation) -> str:
        """Returns the path of an operation that it serves: it lies beside that of the chat."""
        if self.is_chat(operation):
            return self.path
        chat, asked = endpoint_of(self.dialect, Operation.CHAT), endpoint_of(self.dialect, operation)
        assert chat is not None and asked is not None, operation  # noqa: S101, PT018  (rows of the table)
        [*verbs] = asked.verbs
        path = self.path.removesuffix(chat.path) + asked.path
        return path.replace(VERB, "".join(verbs))


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
    models: tuple[ProvidedModel, ...] = ()
    """What is declared of its models."""

    def limits_of(self, upstream_model: str) -> ModelLimits:
        """Returns what one of its models can do: as declared, or as known."""
        declared = next((model for model in self.models if model.name == upstream_model), None)
        return limits_of(upstream_model) if declared is None else declared.limits


# Paths after a base URL, which ends where the dialect's own SDK expects it to.
_ANY_SERVER = {
    Dialect.OPENAI: PresetFace(Dialect.OPENAI, "/chat/completions", OutputCapField.MAX_TOKENS, operations=METERED),
    Dialect.ANTHROPIC: PresetFace(Dialect.ANTHROPIC, "/v1/messages", OutputCapField.MAX_TOKENS, operations=METERED),
    Dialect.GEMINI: PresetFace(Dialect.GEMINI, GEMINI_PATH, OutputCapField.MAX_OUTPUT_TOKENS, operations=METERED),
}
_CREDENTIAL = {
    Dialect.OPENAI: ("authorization", "Bearer "),
    Dialect.ANTHROPIC: ("x-api-key", ""),
    Dialect.GEMINI: ("x-goog-api-key", ""),
}


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
    if provider.preset is not None and provider.preset.is_own_address and not provider.base_url:
        raise InvalidInput(f"{field}.base_url", f"write your own address, as in {provider.preset.base_url}")
    if provider.base_url:
        parse_base_url(f"{field}.base_url", provider.base_url)
    read_allowed(f"{field}.headers.allow", provider.allowed_headers)
    check_provided_models(f"{field}.models", provider.models)
    return provider


def reachable_faces_of(provider: Provider) -> tuple[Face, ...]:
    """Returns the faces of a checked provider, and after them those that calls reach by a translation."""
    own = faces_of(provider)
    served = {(face.dialect, operation) for face in own for operation in face.operations}
    translated: list[Face] = []
    for face in own:
        for one in TRANSLATIONS:
            if one.provider is face.dialect and (one.client, one.operation) not in served:
                served.add((one.client, one.operation))
                operations = frozenset({one.operation})
                translated.append(replace(face, dialect=one.client, operations=operations, translated_to=one.provider))
    return (*own, *translated)


def faces_of(provider: Provider) -> tuple[Face, ...]:
    """Returns the faces of a checked provider, preferred ones first."""
    if provider.preset is not None:
        base = _preset_base(provider.preset, provider.base_url)
        return tuple(_face(base, shape) for shape in provider.preset.faces)
    assert provider.protocol is not None, "check_provider lets nothing else through"  # noqa: S101
    return (_face(parse_base_url("base_url", provider.base_url), _ANY_SERVER[provider.protocol]),)


def catalogue_provider(provider: Provider) -> str:
    """Returns the vendor's name in the price catalogue. Empty when the vendor is unknown."""
    return provider.preset.catalogue_provider if provider.preset is not None else ""


def _preset_base(preset: Preset, base_url: str) -> BaseUrl:
    base = parse_base_url("base_url", base_url or preset.base_url)
    return BaseUrl(base.origin, base.path.removesuffix(preset.base_suffix))


def _face(base: BaseUrl, shape: PresetFace) -> Face:
    header, prefix = (shape.credential_header, "") if shape.credential_header else _CREDENTIAL[shape.dialect]
    # A set for several dialects may have what this one has not.
    operations = frozenset(one for one in shape.operations if endpoint_of(shape.dialect, one) is not None)
    return Face(
        dialect=shape.dialect,
        origin=base.origin,
        path=base.path + shape.path,
        operations=operations,
        credential_header=header,
        credential_prefix=prefix,
        output_cap_field=shape.output_cap_field,
        usage_unasked=shape.usage_unasked,
    )
