"""Features of a request, as Envoy's scan names them, and those that a model or a face may lack.

The dialects in `envoy/lua/dialect` say what makes a request have each of them.
"""

from __future__ import annotations

from enum import StrEnum

UNKNOWN_MEMBERS = "unknown_members"
"""Stands among what a face lacks: it carries only what the scan knows."""


class Feature(StrEnum):
    """A part of a request that not every target carries, or that changes what a call can cost."""

    TOOLS = "tools"
    """Tools that the client runs."""
    IMAGES = "images"
    AUDIO = "audio"
    VIDEO = "video"
    DOCUMENTS = "documents"
    """Files that a model reads like pages: PDF and the like, not plain text."""
    RESPONSE_FORMAT = "response_format"
    """The form of the answer is given, for example by a schema."""
    THINKING = "thinking"
    """How much the model shall think is said."""
    # These say how the input is bounded, stored or cached.
    FILES = "files"
    """Input that the bytes of the request do not bound."""
    CACHE_CONTROL = "cache_control"
    CACHE_1H = "cache_1h"
    STORED_INPUT = "stored_input"
    SERVER_TOOLS = "server_tools"


CAPABILITIES = frozenset(
    feature.value
    for feature in (
        Feature.TOOLS,
        Feature.IMAGES,
        Feature.AUDIO,
        Feature.VIDEO,
        Feature.DOCUMENTS,
        Feature.RESPONSE_FORMAT,
        Feature.THINKING,
    )
)
"""The names of the features that a model carries or lacks."""
