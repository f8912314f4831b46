"""Presets: one row for each vendor, with everything that differs between vendors.

The router reaches a vendor by its row, and the command line reads the names of presets from the configuration file. A
new vendor is one more row here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import NamedTuple, Self

from services.kernel.dialect import Dialect, OutputCapField
from services.kernel.endpoint import MODEL, VERB, Operation

CHATS = frozenset({Operation.CHAT})
EMBEDS = CHATS | {Operation.EMBED}
RESPONDS = CHATS | {Operation.RESPOND}
METERED = frozenset(operation for operation in Operation if not operation.is_free)
"""Any server may serve this, and says itself what it does not. What is free at a vendor may cost elsewhere."""
EVERYTHING = frozenset(Operation)


class PresetFace(NamedTuple):
    """One way to reach a vendor: everything but its address."""

    dialect: Dialect
    path: str
    """Path of the chat endpoint. Gemini's contains "{model}" and "{verb}"."""
    output_cap_field: OutputCapField
    usage_unasked: bool = False
    """Its streams always end with their usage, and it refuses requests that ask for it."""
    operations: frozenset[Operation] = CHATS
    """What it serves, beside its chat endpoint."""
    credential_header: str = ""
    """The header for the credential, alone in it. Empty: that of the dialect."""


@dataclass(frozen=True, slots=True)
class PresetRow:
    """The properties of a vendor."""

    base_url: str
    """Its address, in the form that its own SDK takes."""
    faces: tuple[PresetFace, ...]
    """Its own dialect comes first, because it carries most."""
    catalogue_provider: str = ""
    """Its name in the price catalogue. Empty: the catalogue does not know it, so its models need `prices`."""
    base_suffix: str = ""
    """The end of `base_url` that the paths of the faces contain, too."""
    is_own_address: bool = False
    """Each customer has an address of its own, and `base_url` shows its form."""


GEMINI_PATH = f"/v1beta/models/{MODEL}:{VERB}"
_COMPLETIONS = "/chat/completions"


def _compatible(
    base_url: str,
    catalogue_provider: str = "",
    *,
    cap: OutputCapField = OutputCapField.MAX_TOKENS,
    usage_unasked: bool = False,
    serves: frozenset[Operation] = CHATS,
) -> PresetRow:
    """A vendor, or a server of one's own, with nothing but OpenAI's dialect."""
    face = PresetFace(Dialect.OPENAI, _COMPLETIONS, cap, usage_unasked, serves)
    return PresetRow(base_url, (face,), catalogue_provider)


class Preset(StrEnum):
    """A vendor with known faces."""

    OPENAI = (
        "openai",
        PresetRow(
            "https://api.openai.com/v1",
            (
                PresetFace(
                    Dialect.OPENAI,
                    "/v1/chat/completions",
                    OutputCapField.MAX_COMPLETION_TOKENS,
                    operations=EVERYTHING,
                ),
            ),
            catalogue_provider="openai",
            base_suffix="/v1",
        ),
    )
    ANTHROPIC = (
        "anthropic",
        PresetRow(
            "https://api.anthropic.com",
            (
                PresetFace(Dialect.ANTHROPIC, "/v1/messages", OutputCapField.MAX_TOKENS, operations=EVERYTHING),
                PresetFace(Dialect.OPENAI, "/v1/chat/completions", OutputCapField.MAX_TOKENS),
            ),
            catalogue_provider="anthropic",
        ),
    )
    GEMINI = (
        "gemini",
        PresetRow(
            "https://generativelanguage.googleapis.com",
            (
                PresetFace(Dialect.GEMINI, GEMINI_PATH, OutputCapField.MAX_OUTPUT_TOKENS, operations=EVERYTHING),
                PresetFace(
                    Dialect.OPENAI,
                    "/v1beta/openai/chat/completions",
                    OutputCapField.MAX_TOKENS,
                    operations=EMBEDS,
                ),
            ),
            catalogue_provider="google",
        ),
    )
    DEEPSEEK = (
        "deepseek",
        PresetRow(
            "https://api.deepseek.com",
            (
                PresetFace(Dialect.OPENAI, f"/v1{_COMPLETIONS}", OutputCapField.MAX_TOKENS),
                PresetFace(Dialect.ANTHROPIC, "/anthropic/v1/messages", OutputCapField.MAX_TOKENS),
            ),
            catalogue_provider="deepseek",
            base_suffix="/v1",
        ),
    )
    # https://docs.mistral.ai/api and https://docs.cohere.com/docs/compatibility-api: both refuse `stream_options`.
    MISTRAL = "mistral", _compatible("https://api.mistral.ai/v1", "mistral", usage_unasked=True, serves=EMBEDS)
    COHERE = (
        "cohere",
        _compatible("https://api.cohere.ai/compatibility/v1", "cohere", usage_unasked=True, serves=EMBEDS),
    )
    GROQ = (
        "groq",
        _compatible(
            "https://api.groq.com/openai/v1", "groq", cap=OutputCapField.MAX_COMPLETION_TOKENS, serves=RESPONDS
        ),
    )
    CEREBRAS = (
        "cerebras",
        _compatible("https://api.cerebras.ai/v1", "cerebras", cap=OutputCapField.MAX_COMPLETION_TOKENS),
    )
    XAI = "xai", _compatible("https://api.x.ai/v1", "x-ai", cap=OutputCapField.MAX_COMPLETION_TOKENS, serves=RESPONDS)
    TOGETHER = "together", _compatible("https://api.together.xyz/v1", "together", serves=EMBEDS)
    FIREWORKS = "fireworks", _compatible("https://api.fireworks.ai/inference/v1", "fireworks", serves=EMBEDS | RESPONDS)
    OPENROUTER = "openrouter", _compatible("https://openrouter.ai/api/v1", "openrouter", serves=EMBEDS | RESPONDS)
    PERPLEXITY = "perplexity", _compatible("https://api.perplexity.ai", "perplexity")
    MOONSHOT = "moonshot", _compatible("https://api.moonshot.ai/v1", "moonshotai")
    DASHSCOPE = "dashscope", _compatible("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", serves=EMBEDS)
    HUGGINGFACE = "huggingface", _compatible("https://router.huggingface.co/v1")
    NEBIUS = "nebius", _compatible("https://api.tokenfactory.nebius.com/v1", serves=EMBEDS)
    DEEPINFRA = "deepinfra", _compatible("https://api.deepinfra.com/v1/openai", serves=EMBEDS)
    SAMBANOVA = "sambanova", _compatible("https://api.sambanova.ai/v1", serves=EMBEDS)
    # https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle: the v1 API needs no `api-version`.
    # A model is the name of a deployment.
    AZURE = (
        "azure",
        PresetRow(
            "https://RESOURCE.openai.azure.com/openai/v1",
            (
                PresetFace(
                    Dialect.OPENAI,
                    f"/openai/v1{_COMPLETIONS}",
                    OutputCapField.MAX_COMPLETION_TOKENS,
                    operations=METERED,
                    credential_header="api-key",
                ),
            ),
            catalogue_provider="azure",
            base_suffix="/openai/v1",
            is_own_address=True,
        ),
    )
    # https://docs.aws.amazon.com/bedrock/latest/userguide/bedrock-mantle.html and inference-messages-api.html: it
    # takes a Bedrock API key. Claude is reached only by the Messages API.
    BEDROCK = (
        "bedrock",
        PresetRow(
            "https://bedrock-mantle.us-east-1.api.aws",
            (
                PresetFace(Dialect.ANTHROPIC, "/anthropic/v1/messages", OutputCapField.MAX_TOKENS),
                PresetFace(Dialect.OPENAI, f"/v1{_COMPLETIONS}", OutputCapField.MAX_COMPLETION_TOKENS),
            ),
            catalogue_provider="aws",
            base_suffix="/v1",
        ),
    )
    # https://cloud.google.com/vertex-ai/generative-ai/docs/start/express-mode/vertex-ai-express-mode-api-reference: an
    # API key goes without project and location.
    VERTEX = (
        "vertex",
        PresetRow(
            "https://aiplatform.googleapis.com/v1",
            (
                PresetFace(
                    Dialect.GEMINI,
                    f"/publishers/google/models/{MODEL}:{VERB}",
                    OutputCapField.MAX_OUTPUT_TOKENS,
                    operations=CHATS | {Operation.COUNT},
                ),
            ),
            catalogue_provider="google",
        ),
    )
    # Servers of one's own, at the address where each starts unless told otherwise.
    OLLAMA = "ollama", _compatible("http://127.0.0.1:11434/v1", serves=METERED)
    VLLM = "vllm", _compatible("http://127.0.0.1:8000/v1", serves=METERED)
    SGLANG = "sglang", _compatible("http://127.0.0.1:30000/v1", serves=METERED)
    LMSTUDIO = "lmstudio", _compatible("http://127.0.0.1:1234/v1", serves=METERED)
    LLAMACPP = (
        "llamacpp",
        PresetRow(
            "http://127.0.0.1:8080",
            (
                PresetFace(Dialect.OPENAI, f"/v1{_COMPLETIONS}", OutputCapField.MAX_TOKENS, operations=METERED),
                PresetFace(
                    Dialect.ANTHROPIC, "/v1/messages", OutputCapField.MAX_TOKENS, operations=CHATS | {Operation.COUNT}
                ),
            ),
            base_suffix="/v1",
        ),
    )

    base_url: str
    """See `PresetRow`."""
    faces: tuple[PresetFace, ...]
    catalogue_provider: str
    base_suffix: str
    is_own_address: bool

    def __new__(cls, value: str, row: PresetRow) -> Self:
        """Makes a member from its row."""
        member = str.__new__(cls, value)
        member._value_ = value
        for field in fields(row):
            setattr(member, field.name, getattr(row, field.name))
        return member
