"""Fields of spool lines that the previous release wrote. A spool may still hold such lines after an upgrade."""

from __future__ import annotations

from enum import StrEnum


class EarlierKey(StrEnum):
    """Envoy's own token filter read these, and Envoy itself had sent the spans of such a call."""

    TRACE_ID = "trace_id"
    SPAN_ID = "span_id"
    """Ids of the trace and of the call's span, in hex."""
    USAGE_STATUS = "usage_status"
    """Only "1" (complete) or "COMPLETE" counts as the provider's own figures."""
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    CACHED_TOKENS = "cached_tokens"
    CACHE_CREATION_TOKENS = "cache_creation_tokens"
    REASONING_TOKENS = "reasoning_tokens"
    RESPONSE_MODEL = "response_model"
