"""What a call carries when its provider speaks another dialect: one table for each direction.

Envoy's translators (`envoy/lua/translate/`) receive the tables. A translator checks every object that it reads against
its row, so no member is dropped without a word.

Sources: https://docs.anthropic.com/en/api/messages, https://platform.openai.com/docs/api-reference/chat/create,
https://platform.openai.com/docs/api-reference/responses/create.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from services.kernel.dialect import UNKNOWN_MEMBERS, Dialect, Feature
from services.kernel.endpoint import Operation


class Outcome(StrEnum):
    """What becomes of a member of a request."""

    CARRIED = "carried"
    """The provider gets it, in its own words."""
    IGNORED = "ignored"
    """The provider has nothing like it. The call is made without it, and its answer says so."""
    REFUSED = "refused"
    """An answer without it would not be what was asked for. The call gets a 400 that names the member."""


@dataclass(frozen=True, slots=True)
class Members:
    """The members of one kind of object. A member in none of the lists is refused."""

    carried: str
    """Names, separated by white space."""
    ignored: str = ""
    refused: str = ""
    """Those that clients may know. Others are refused all the same."""


@dataclass(frozen=True, slots=True)
class Translation:
    """One direction. The provider's side is always a chat."""

    name: str
    """The module of `envoy/lua/translate/` with the translator."""
    client: Dialect
    operation: Operation
    """What the client asks for."""
    provider: Dialect
    objects: Mapping[str, Members]
    """By the place of the object: names from the top, joined by dots. The body itself has an empty name."""

    def outcomes(self) -> Iterator[tuple[str, str, Outcome]]:
        """Yields the place of an object, the name of a member, and its outcome."""
        for place, members in self.objects.items():
            for outcome in Outcome:
                for name in getattr(members, outcome).split():
                    yield place, name, outcome


LACKS = frozenset(
    {
        Feature.AUDIO,
        Feature.VIDEO,
        Feature.STORED_INPUT,
        Feature.SERVER_TOOLS,
        Feature.BACKGROUND,
        Feature.COMPACTION,
        Feature.CUSTOM_TOOLS,
        UNKNOWN_MEMBERS,
    }
)
"""What no translation carries. Quota leaves such targets out of the chains of calls that need it."""

# A call whose member is absent, null, false, 0, "" or an empty list asks for nothing, so it is never refused for it.
CHAT_TO_MESSAGES = Translation(
    "chat_to_messages",
    Dialect.OPENAI,
    Operation.CHAT,
    Dialect.ANTHROPIC,
    {
        "": Members(
            carried="""model messages stream stream_options max_tokens max_completion_tokens n stop temperature top_p
                top_k tools tool_choice parallel_tool_calls response_format reasoning_effort thinking cache_control
                user safety_identifier service_tier modalities""",
            ignored="""seed presence_penalty frequency_penalty logit_bias metadata store verbosity prediction
                prompt_cache_key prompt_cache_retention user_id request_id session_id include_reasoning
                reasoning_format""",
            refused="audio best_of functions function_call logprobs top_logprobs web_search_options",
        ),
        "stream_options": Members(carried="include_usage", ignored="include_obfuscation"),
        "messages": Members(
            carried="role content tool_calls tool_call_id refusal thinking_blocks cache_control",
            ignored="name id index annotations reasoning reasoning_content reasoning_details provider_specific_fields",
            refused="audio function_call",
        ),
        "messages.content": Members(
            carried="type text refusal image_url file cache_control",
            refused="input_audio video_url audio_url document_url input_video",
        ),
        "messages.content.image_url": Members(carried="url", ignored="detail"),
        "messages.content.file": Members(carried="file_data filename", refused="file_id"),
        "messages.tool_calls": Members(
            carried="id type function cache_control", ignored="index extra_content", refused="custom"
        ),
        "messages.tool_calls.function": Members(carried="name arguments"),
        "tools": Members(carried="type function cache_control", refused="custom"),
        "tools.function": Members(carried="name description parameters strict cache_control"),
        "tool_choice": Members(carried="type function", refused="allowed_tools custom"),
        "tool_choice.function": Members(carried="name"),
        "response_format": Members(carried="type json_schema"),
        "response_format.json_schema": Members(carried="name schema strict", ignored="description"),
    },
)
MESSAGES_TO_CHAT = Translation(
    "messages_to_chat",
    Dialect.ANTHROPIC,
    Operation.CHAT,
    Dialect.OPENAI,
    {
        "": Members(
            carried="""model messages system stream max_tokens stop_sequences temperature top_p tools tool_choice
                output_config output_format thinking metadata service_tier speed""",
            ignored="top_k cache_control context_management anthropic_version",
            refused="container mcp_servers inference_geo fallbacks betas anthropic_beta",
        ),
        "system": Members(carried="type text", ignored="cache_control citations"),
        "messages": Members(carried="role content"),
        "messages.content": Members(
            carried="type text source title id name input tool_use_id content is_error",
            ignored="cache_control citations context caller thinking signature data",
        ),
        "messages.content.source": Members(carried="type media_type data url", refused="file_id content"),
        "messages.content.content": Members(
            carried="type text source title", ignored="cache_control citations context"
        ),
        "messages.content.content.source": Members(carried="type media_type data url", refused="file_id content"),
        "tools": Members(
            carried="type name description input_schema strict",
            ignored="cache_control eager_input_streaming input_examples",
            refused="defer_loading allowed_callers",
        ),
        "tool_choice": Members(carried="type name disable_parallel_tool_use"),
        "thinking": Members(carried="type budget_tokens", ignored="display"),
        "output_config": Members(carried="effort format"),
        "output_config.format": Members(carried="type schema"),
        "output_format": Members(carried="type schema"),
        "metadata": Members(carried="user_id"),
    },
)
_PARTS = Members(
    carried="type text refusal image_url detail file_data filename",
    ignored="annotations logprobs",
    refused="file_id file_url input_audio",
)
RESPONSES_TO_CHAT = Translation(
    "responses_to_chat",
    Dialect.OPENAI,
    Operation.RESPOND,
    Dialect.OPENAI,
    {
        "": Members(
            carried="""model input instructions stream stream_options max_output_tokens temperature top_p tools
                tool_choice parallel_tool_calls text reasoning include metadata store truncation user
                safety_identifier service_tier""",
            ignored="max_tool_calls prompt_cache_key prompt_cache_retention",
            refused="background conversation context_management previous_response_id prompt top_logprobs",
        ),
        "stream_options": Members(carried="", ignored="include_obfuscation"),
        "input": Members(
            carried="type role content call_id name arguments output encrypted_content",
            ignored="id status phase summary",
            refused="action input namespace operation",
        ),
        "input.content": _PARTS,
        "input.output": _PARTS,
        "tools": Members(carried="type name description parameters strict", refused="defer_loading format"),
        "tool_choice": Members(carried="type name", refused="mode tools"),
        "text": Members(carried="format", ignored="verbosity"),
        "text.format": Members(carried="type name description schema strict"),
        "reasoning": Members(carried="effort summary", ignored="generate_summary"),
    },
)
RESPONSES_TO_MESSAGES = Translation(
    "responses_to_messages",
    Dialect.OPENAI,
    Operation.RESPOND,
    Dialect.ANTHROPIC,
    RESPONSES_TO_CHAT.objects,
)
"""By way of Chat, so what `CHAT_TO_MESSAGES` ignores or refuses is ignored or refused here, too."""
TRANSLATIONS = (CHAT_TO_MESSAGES, MESSAGES_TO_CHAT, RESPONSES_TO_CHAT, RESPONSES_TO_MESSAGES)
"""A provider's first face that speaks one of the dialects is the one that calls are translated to."""
