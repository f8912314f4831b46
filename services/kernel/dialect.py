"""Dialects: the protocols that clients and providers speak, and the paths on which clients speak them.

This is the only table of our paths. Envoy's routes and local replies are built from it, Envoy's scripts receive it as a
module, and quota reads it (`services/router/adapters/envoy_resources_endpoints.py`, `envoy_resources_contract.py`).
The paths of providers are in `services/kernel/preset.py`.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum


class Dialect(StrEnum):
    """A protocol, named after the vendor that made it."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"


class OutputCapField(StrEnum):
    """The field of a request that bounds its output. "outer.inner" is one level deeper."""

    MAX_TOKENS = "max_tokens"
    MAX_COMPLETION_TOKENS = "max_completion_tokens"
    MAX_OUTPUT_TOKENS = "generationConfig.maxOutputTokens"


MODEL = "{model}"
"""In a path: a model's name, which may contain slashes and colons ("lab/llama3:8b")."""
VERB = "{verb}"
"""In a path: one of `VERBS`."""
VERBS = {"generateContent": False, "streamGenerateContent": True}
"""What a call may ask of a model in its path, and whether that answer streams."""


@dataclass(frozen=True, slots=True)
class Root:
    """Paths whose clients read errors in one dialect: `path`, and all paths below it."""

    path: str
    has_verb: bool = False
    """True: of the paths below `path`, only those with a colon."""

    def contains(self, path: str) -> bool:
        """Whether `path`, without its query, is one of them."""
        return is_at_or_below(path, self.path) and (not self.has_verb or ":" in path[len(self.path) :])


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The calls of one dialect."""

    dialect: Dialect
    paths: tuple[str, ...]
    """Where clients post calls."""
    roots: tuple[Root, ...] = ()
    """Paths whose errors are in this dialect, even where there is no endpoint."""


ENDPOINTS = (
    # All other paths get their errors in the first dialect.
    Endpoint(Dialect.OPENAI, ("/v1/chat/completions",)),
    Endpoint(Dialect.ANTHROPIC, ("/v1/messages",), (Root("/v1/messages"),)),
    Endpoint(
        Dialect.GEMINI,
        (f"/v1/models/{MODEL}:{VERB}", f"/v1beta/models/{MODEL}:{VERB}"),
        (Root("/v1beta"), Root("/v1/models", has_verb=True)),
    ),
)

# Nearly all calls are to one of these.
_OF_PATHS = {path: endpoint.dialect for endpoint in ENDPOINTS for path in endpoint.paths}

MODELS_PATHS = ("/v1/models", "/v1beta/models")
"""`GET` lists the models that a key may use. A path below it shows one of them."""
BUDGET_PATH = "/v1/budget"
"""`GET` tells the holder of a key what is left."""
SHARED_PATHS = (MODELS_PATHS[0], BUDGET_PATH)
"""Clients of all dialects ask here and below. A header tells which one it is."""
DIALECT_HEADERS = {"anthropic-version": Dialect.ANTHROPIC, "x-goog-api-key": Dialect.GEMINI}
"""Headers that only the clients of one dialect send. The first that is there decides."""


def dialect_of(path: str, headers: Container[str] = ()) -> Dialect:
    """Returns the dialect in which to answer a request, even if no endpoint is there.

    Args:
        path: with or without the query.
        headers: the request's, by lower-case name. They only matter on `SHARED_PATHS`.
    """
    if (found := _OF_PATHS.get(path)) is not None:
        return found
    bare = path.partition("?")[0]
    if (found := _OF_PATHS.get(bare)) is not None:
        return found
    for endpoint in ENDPOINTS:
        if any(root.contains(bare) for root in endpoint.roots):
            return endpoint.dialect
    if ":" not in bare and any(is_at_or_below(bare, shared) for shared in SHARED_PATHS):
        for name, dialect in DIALECT_HEADERS.items():
            if name in headers:
                return dialect
    return ENDPOINTS[0].dialect


def is_at_or_below(path: str, root: str) -> bool:
    """Whether `path` begins with the segments of `root`."""
    return path.startswith(root) and path[len(root) :][:1] in {"", "/"}


UNKNOWN_MEMBERS = "unknown_members"
"""Stands among what a face lacks: it carries only what the scan knows."""


class Feature(StrEnum):
    """A part of a request that not every target carries, or that changes what a call can cost, as the scan names it.

    The tables in `envoy/lua/dialect` say what makes a request have each of them.
    """

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
