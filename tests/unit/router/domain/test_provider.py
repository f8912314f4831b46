from __future__ import annotations

from dataclasses import replace

import pytest
from genai_prices.data_snapshot import get_snapshot

from services.kernel.dialect import Dialect
from services.kernel.endpoint import Operation
from services.kernel.errors import InvalidInput
from services.kernel.preset import Preset
from services.router.domain.backend import Backend, backends_of, name_clusters
from services.router.domain.model_limits import ModelLimits, limits_of
from services.router.domain.provider import Provider, catalogue_provider, check_provider, faces_of, reachable_faces_of
from services.router.domain.secret import SecretReference, SecretSource
from tests.worlds.router import env, lab, vendor

GEMINI_CAP = "generationConfig.maxOutputTokens"
NO_KEY = SecretReference(SecretSource.NONE)


def seen(provider: Provider) -> list[tuple[str, str, str]]:
    """Dialect, address of the chat endpoint, and the header of the credential."""
    return [
        (
            face.dialect.value,
            f"{'https' if face.origin.tls else 'http'}://{face.origin.host_header}{face.path}",
            f"{face.credential_header}: {face.credential_prefix}".strip(),
        )
        for face in faces_of(provider)
    ]


def fresh(providers: list[Provider]) -> tuple[Backend, ...]:
    return backends_of(providers, name_clusters(providers, {}))


def test_presets_know_every_face_of_their_vendor() -> None:
    assert seen(vendor(Preset.OPENAI)) == [
        ("openai", "https://api.openai.com/v1/chat/completions", "authorization: Bearer"),
    ]
    assert seen(vendor(Preset.ANTHROPIC)) == [
        ("anthropic", "https://api.anthropic.com/v1/messages", "x-api-key:"),
        ("openai", "https://api.anthropic.com/v1/chat/completions", "authorization: Bearer"),
    ]
    google = "https://generativelanguage.googleapis.com/v1beta"
    assert seen(vendor(Preset.GEMINI)) == [
        ("gemini", f"{google}/models/{{model}}:{{verb}}", "x-goog-api-key:"),
        ("openai", f"{google}/openai/chat/completions", "authorization: Bearer"),
    ]


def test_a_base_url_moves_all_faces_of_a_preset() -> None:
    local = "http://127.0.0.1:9000"
    assert [face[1] for face in seen(vendor(Preset.ANTHROPIC, local))] == [
        f"{local}/v1/messages",
        f"{local}/v1/chat/completions",
    ]
    assert [face[1] for face in seen(vendor(Preset.GEMINI, f"{local}/proxy/"))] == [
        f"{local}/proxy/v1beta/models/{{model}}:{{verb}}",
        f"{local}/proxy/v1beta/openai/chat/completions",
    ]


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:9000", "http://127.0.0.1:9000/v1", "http://127.0.0.1:9000/v1/"])
def test_the_openai_preset_takes_a_base_url_as_its_sdk_does_or_without_the_version(base_url: str) -> None:
    assert seen(vendor(Preset.OPENAI, base_url))[0][1] == "http://127.0.0.1:9000/v1/chat/completions"


@pytest.mark.parametrize(
    ("protocol", "base_url", "endpoint", "cap"),
    [
        (Dialect.OPENAI, "http://h:1/v1", "http://h:1/v1/chat/completions", "max_tokens"),
        (Dialect.ANTHROPIC, "http://h:1", "http://h:1/v1/messages", "max_tokens"),
        (Dialect.GEMINI, "http://h:1", "http://h:1/v1beta/models/{model}:{verb}", GEMINI_CAP),
    ],
)
def test_any_server_has_the_face_of_its_protocol(protocol: Dialect, base_url: str, endpoint: str, cap: str) -> None:
    provider = Provider("lab", env(), protocol=protocol, base_url=base_url)
    assert [(face[0], face[1]) for face in seen(provider)] == [(protocol.value, endpoint)]
    assert faces_of(provider)[0].output_cap_field == cap


@pytest.mark.parametrize(
    ("preset", "endpoint"),
    [
        (Preset.MISTRAL, "https://api.mistral.ai/v1/chat/completions"),
        (Preset.COHERE, "https://api.cohere.ai/compatibility/v1/chat/completions"),
        (Preset.GROQ, "https://api.groq.com/openai/v1/chat/completions"),
        (Preset.CEREBRAS, "https://api.cerebras.ai/v1/chat/completions"),
        (Preset.XAI, "https://api.x.ai/v1/chat/completions"),
        (Preset.TOGETHER, "https://api.together.xyz/v1/chat/completions"),
        (Preset.FIREWORKS, "https://api.fireworks.ai/inference/v1/chat/completions"),
        (Preset.OPENROUTER, "https://openrouter.ai/api/v1/chat/completions"),
        (Preset.PERPLEXITY, "https://api.perplexity.ai/chat/completions"),
        (Preset.MOONSHOT, "https://api.moonshot.ai/v1/chat/completions"),
        (Preset.DASHSCOPE, "https://dashscope-intl.aliyuncs.com/compatible-mode/v1/chat/completions"),
        (Preset.HUGGINGFACE, "https://router.huggingface.co/v1/chat/completions"),
        (Preset.NEBIUS, "https://api.tokenfactory.nebius.com/v1/chat/completions"),
        (Preset.DEEPINFRA, "https://api.deepinfra.com/v1/openai/chat/completions"),
        (Preset.SAMBANOVA, "https://api.sambanova.ai/v1/chat/completions"),
        (Preset.OLLAMA, "http://127.0.0.1:11434/v1/chat/completions"),
        (Preset.VLLM, "http://127.0.0.1:8000/v1/chat/completions"),
        (Preset.SGLANG, "http://127.0.0.1:30000/v1/chat/completions"),
        (Preset.LMSTUDIO, "http://127.0.0.1:1234/v1/chat/completions"),
    ],
)
def test_a_vendor_with_openais_endpoint_gets_its_key_as_openai_does(preset: Preset, endpoint: str) -> None:
    assert seen(vendor(preset)) == [("openai", endpoint, "authorization: Bearer")]


def test_some_vendors_speak_anthropics_dialect_too() -> None:
    assert seen(vendor(Preset.DEEPSEEK)) == [
        ("openai", "https://api.deepseek.com/v1/chat/completions", "authorization: Bearer"),
        ("anthropic", "https://api.deepseek.com/anthropic/v1/messages", "x-api-key:"),
    ]
    assert seen(vendor(Preset.LLAMACPP)) == [
        ("openai", "http://127.0.0.1:8080/v1/chat/completions", "authorization: Bearer"),
        ("anthropic", "http://127.0.0.1:8080/v1/messages", "x-api-key:"),
    ]


@pytest.mark.parametrize("base_url", ["https://acme.openai.azure.com", "https://acme.openai.azure.com/openai/v1/"])
def test_azure_is_called_at_the_customers_address_with_a_header_of_its_own(base_url: str) -> None:
    endpoint = "https://acme.openai.azure.com/openai/v1/chat/completions"
    assert seen(vendor(Preset.AZURE, base_url)) == [("openai", endpoint, "api-key:")]
    with pytest.raises(InvalidInput, match=r"https://RESOURCE\.openai\.azure\.com/openai/v1"):
        check_provider("p", vendor(Preset.AZURE))


def test_bedrock_is_called_in_two_dialects_and_in_any_region() -> None:
    mantle = "https://bedrock-mantle.eu-central-1.api.aws"
    assert seen(vendor(Preset.BEDROCK, mantle)) == [
        ("anthropic", f"{mantle}/anthropic/v1/messages", "x-api-key:"),
        ("openai", f"{mantle}/v1/chat/completions", "authorization: Bearer"),
    ]
    assert seen(vendor(Preset.BEDROCK, f"{mantle}/v1")) == seen(vendor(Preset.BEDROCK, mantle))


def test_vertex_is_called_with_and_without_a_project() -> None:
    model = "publishers/google/models/{model}:{verb}"
    everywhere, local = (
        "https://aiplatform.googleapis.com/v1",
        "https://us-east1-aiplatform.googleapis.com/v1/projects/p/locations/us-east1",
    )
    assert seen(vendor(Preset.VERTEX)) == [("gemini", f"{everywhere}/{model}", "x-goog-api-key:")]
    assert seen(vendor(Preset.VERTEX, local)) == [("gemini", f"{local}/{model}", "x-goog-api-key:")]


def test_output_is_bounded_in_the_field_that_the_vendor_reads() -> None:
    caps = {preset: [face.output_cap_field for face in faces_of(vendor(preset))] for preset in Preset}
    newer = [Preset.OPENAI, Preset.GROQ, Preset.CEREBRAS, Preset.XAI, Preset.AZURE]
    assert {preset: cap for preset, cap in caps.items() if set(cap) != {"max_tokens"}} == {
        **{preset: ["max_completion_tokens"] for preset in newer},
        Preset.GEMINI: [GEMINI_CAP, "max_tokens"],
        Preset.VERTEX: [GEMINI_CAP],
        Preset.BEDROCK: ["max_tokens", "max_completion_tokens"],
    }


def test_a_vendor_that_refuses_to_be_asked_for_usage_is_not_asked() -> None:
    unasked = {preset for preset in Preset for face in faces_of(vendor(preset)) if face.usage_unasked}
    assert unasked == {Preset.MISTRAL, Preset.COHERE}


def test_the_catalogue_knows_the_vendors_that_a_preset_says_it_knows() -> None:
    known = {provider.id for provider in get_snapshot().providers}
    named = {preset: catalogue_provider(vendor(preset)) for preset in Preset}
    assert {name for name in named.values() if name} <= known
    assert [preset for preset, name in named.items() if not name] == [
        Preset.DASHSCOPE, Preset.HUGGINGFACE, Preset.NEBIUS, Preset.DEEPINFRA, Preset.SAMBANOVA,
        Preset.OLLAMA, Preset.VLLM, Preset.SGLANG, Preset.LMSTUDIO, Preset.LLAMACPP,
    ]  # fmt: skip
    assert catalogue_provider(lab()) == ""


@pytest.mark.parametrize(
    ("provider", "field"),
    [
        (Provider("lab", env()), "p.preset"),
        (Provider("lab", env(), preset=Preset.OPENAI, protocol=Dialect.OPENAI), "p.protocol"),
        (Provider("lab", env(), protocol=Dialect.OPENAI), "p.base_url"),
        (Provider("lab", env(), preset=Preset.OPENAI, base_url="http://169.254.0.1"), "p.base_url"),
        (Provider("la/b", env(), preset=Preset.OPENAI), "p.name"),
        (Provider("lab", env("SPENDGATE_X"), preset=Preset.OPENAI), "p.api_key.env"),
    ],
)
def test_a_provider_that_cannot_be_reached_as_configured_is_refused(provider: Provider, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_provider("p", provider)
    assert caught.value.field == field


def test_each_face_is_a_cluster_with_its_own_secret() -> None:
    backends = fresh([vendor(Preset.ANTHROPIC, "http://127.0.0.1:9")])
    assert [one.cluster.name for one in backends] == [
        "anthropic.anthropic",
        "anthropic.openai",
        "anthropic.openai-responses",
    ]
    assert [one.header_value("sk-1") for one in backends] == ["sk-1", "Bearer sk-1", "sk-1"]
    assert len({one.cluster.secret_name for one in backends}) == 3


def test_a_secret_belongs_to_one_origin_so_that_no_key_reaches_another_server() -> None:
    before, after = (fresh([lab(base_url=url)])[0].cluster for url in ("http://a:1/v1", "http://b:1/v1"))
    assert before.name == after.name
    assert before.secret_name != after.secret_name


def test_a_provider_that_moves_has_a_cluster_of_another_name_while_the_old_one_is_in_use() -> None:
    here, there = lab(base_url="http://a:1/v1"), lab(base_url="http://b:1/v1")
    in_use = {"lab.gemini": fresh([here])[0]}
    assert name_clusters([here], in_use) == {("lab", Dialect.GEMINI): "lab.gemini"}
    [moved] = name_clusters([there], in_use).values()
    assert moved.startswith("lab.gemini~")
    assert name_clusters([there], in_use | {moved: fresh([there])[0]}) == {("lab", Dialect.GEMINI): moved}


def test_clients_of_the_other_dialect_reach_a_provider_by_a_translation() -> None:
    provider = replace(lab(base_url="http://h:1/v1"), protocol=Dialect.OPENAI)
    own, translated = reachable_faces_of(provider)
    assert translated == replace(
        own,
        dialect=Dialect.ANTHROPIC,
        operations=frozenset({Operation.CHAT}),
        translated_to=Dialect.OPENAI,
    )
    assert translated.path_of(Operation.CHAT) == "/v1/chat/completions"
    assert [one.cluster.name for one in fresh([provider])] == ["lab.anthropic", "lab.openai"]
    # Chats of whoever speaks both are not, and Gemini's dialect is none of those.
    anthropic = vendor(Preset.ANTHROPIC)
    assert [one.asked for one in reachable_faces_of(anthropic) if one.translated_to] == [Operation.RESPOND]
    assert reachable_faces_of(lab()) == faces_of(lab())


@pytest.mark.parametrize(
    ("preset", "to", "path"),
    [
        (Preset.MISTRAL, Dialect.OPENAI, "/v1/chat/completions"),
        (Preset.DEEPSEEK, Dialect.OPENAI, "/v1/chat/completions"),
        (Preset.ANTHROPIC, Dialect.ANTHROPIC, "/v1/messages"),
        (Preset.GEMINI, Dialect.OPENAI, "/v1beta/openai/chat/completions"),
        (Preset.OPENAI, None, "/v1/responses"),
        (Preset.GROQ, None, "/openai/v1/responses"),
    ],
)
def test_responses_reach_every_provider_of_chats_by_its_first_face(
    preset: Preset, to: Dialect | None, path: str
) -> None:
    [face] = [
        one
        for one in reachable_faces_of(vendor(preset))
        if one.dialect is Dialect.OPENAI and Operation.RESPOND in one.operations
    ]
    assert face.translated_to is to
    assert face.path_of(Operation.RESPOND) == path
    assert face.name == ("openai" if to is None else "openai-responses")


def test_a_provider_without_credential_has_no_secret() -> None:
    provider = Provider("lab", NO_KEY, protocol=Dialect.OPENAI, base_url="http://h:1/v1")
    assert fresh([provider])[0].cluster.secret_name == ""


@pytest.mark.parametrize(
    ("model", "max_output"),
    [
        ("gpt-4o", 16_384),
        ("gpt-4o-mini-2024-07-18", 16_384),
        ("gpt-4.1-nano", 32_768),
        ("gpt-5-mini", 128_000),
        ("o3-mini", 100_000),
        ("claude-sonnet-4-5-20250929", 64_000),
        ("claude-haiku-4-5", 64_000),
        ("claude-opus-4-1", 32_000),
        ("claude-3-5-haiku-latest", 8_192),
        ("gemini-2.5-flash", 65_536),
        ("gemini-2.0-flash-lite", 8_192),
        ("tiny", 8_192),
    ],
)
def test_the_longest_known_beginning_of_a_name_gives_the_limits(model: str, max_output: int) -> None:
    assert limits_of(model).max_output == max_output


def test_the_context_window_of_an_unknown_model_is_unknown() -> None:
    assert limits_of("tiny") == ModelLimits(8_192, 0, is_output_known=False)
