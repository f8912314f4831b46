"""Endpoints: the paths on which clients make calls, one row each, and what the gateway does with a call there.

This is the only table of our paths. Envoy's routes and local replies are built from it, Envoy's scripts receive it as a
module (`services/router/adapters/envoy_resources_endpoints.py`, `envoy_resources_contract.py`), the router finds a
provider's paths by it, quota and the ledger read it, and `docs/application-developer.md` shows it. A new endpoint is a
row here, a table of what a body may hold (`envoy/lua/dialect/`), and one of what an answer says was used
(`envoy/lua/usage/`).
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from services.kernel.dialect import Dialect, OutputCapField

MODEL = "{model}"
"""In a path: a model's name, which may contain slashes and colons ("lab/llama3:8b")."""
DEPLOYMENTS = "/openai/deployments/"
"""Before the name of a model in the paths of Azure."""
VERB = "{verb}"
"""In a path: one of the words of `Endpoint.verbs`."""


class Operation(StrEnum):
    """What a call asks of a model."""

    CHAT = "chat"
    """Write the next message of a conversation."""
    EMBED = "embeddings"
    """Turn text into vectors."""
    EMBED_BATCH = "batch_embeddings"
    """The same for several texts, each a request of its own within the body."""
    COMPLETE = "completions"
    """Continue a text."""
    COUNT = "count_tokens"
    """Tell how many tokens a chat would take."""
    MODERATE = "moderations"
    """Tell whether a text breaks rules."""
    RESPOND = "responses"
    """Write what comes next in a list of items: messages, calls of tools and their results, reasoning."""

    @property
    def writes(self) -> bool:
        """Whether the model writes anything: whether there can be output tokens."""
        return self not in _SILENT

    @property
    def tells_usage_if_asked(self) -> bool:
        """Whether a stream of OpenAI's dialect tells its usage only if `stream_options` ask for it."""
        return self in _ASKED_FOR_USAGE

    @property
    def is_free(self) -> bool:
        """Whether no vendor charges for it, whatever the prices of its model."""
        return self in _FREE


_FREE = frozenset({Operation.COUNT, Operation.MODERATE})
_SILENT = _FREE | {Operation.EMBED, Operation.EMBED_BATCH}
_ASKED_FOR_USAGE = frozenset({Operation.CHAT, Operation.COMPLETE})
_AT_AZURE = frozenset({Operation.CHAT, Operation.COMPLETE, Operation.EMBED, Operation.RESPOND})
_VERSIONS = {
    Dialect.OPENAI: ("/v1",),
    Dialect.ANTHROPIC: ("/v1",),
    Dialect.GEMINI: ("/v1", "/v1alpha", "/v1beta"),
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Calls of one operation in one dialect."""

    dialect: Dialect
    operation: Operation
    path: str
    """After the version: "/chat/completions" of "/v1/chat/completions"."""
    scan: str
    """The module of `envoy/lua/dialect/` that says what a body may hold."""
    meter: str
    """The module of `envoy/lua/usage/` that says where an answer tells what was used. A chat has its dialect's."""
    metered_in: str
    """For people: what is counted."""
    verbs: Mapping[str, bool] = field(default_factory=dict, hash=False)
    """The words for `VERB` in the path, and whether the answer to each is a stream."""
    output_cap_field: OutputCapField | None = None
    """Where the gateway writes a bound on output. None: nowhere. A chat's depends on the provider."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Where clients post calls, the usual one last."""
        return tuple(version + self.path for version in _VERSIONS[self.dialect])

    @property
    def azure_paths(self) -> tuple[str, ...]:
        """Where clients that are written for Azure post the same calls. A deployment has the name of a model."""
        if self.dialect is not Dialect.OPENAI or self.operation not in _AT_AZURE:
            return ()
        # https://learn.microsoft.com/azure/ai-foundry/openai/reference: responses belong to no deployment.
        dated = "/openai" if self.operation is Operation.RESPOND else DEPLOYMENTS + MODEL
        return (f"/openai/v1{self.path}", dated + self.path)

    @property
    def name(self) -> str:
        """A name for routes: the dialect's, for its chat."""
        return str(self.dialect) if self.operation is Operation.CHAT else f"{self.dialect}-{self.operation}"


# Chats come first: nearly all calls are chats, and Envoy tries the routes in this order.
ENDPOINTS = (
    Endpoint(Dialect.OPENAI, Operation.CHAT, "/chat/completions", "openai", "openai", "input and output tokens"),
    Endpoint(Dialect.ANTHROPIC, Operation.CHAT, "/messages", "anthropic", "anthropic", "input and output tokens"),
    Endpoint(
        Dialect.GEMINI,
        Operation.CHAT,
        f"/models/{MODEL}:{VERB}",
        "gemini",
        "gemini",
        "input and output tokens",
        {"generateContent": False, "streamGenerateContent": True},
    ),
    Endpoint(
        Dialect.OPENAI,
        Operation.RESPOND,
        "/responses",
        "responses",
        "responses",
        "input and output tokens",
        output_cap_field=OutputCapField.OF_RESPONSE,
    ),
    Endpoint(
        Dialect.OPENAI,
        Operation.COMPLETE,
        "/completions",
        "completions",
        "completions",
        "input and output tokens",
        output_cap_field=OutputCapField.MAX_TOKENS,
    ),
    Endpoint(Dialect.OPENAI, Operation.EMBED, "/embeddings", "openai_embeddings", "openai_embeddings", "input tokens"),
    Endpoint(
        Dialect.GEMINI,
        Operation.EMBED,
        f"/models/{MODEL}:{VERB}",
        "gemini_embedding",
        "gemini_embeddings",
        "input tokens",
        {"embedContent": False},
    ),
    Endpoint(
        Dialect.GEMINI,
        Operation.EMBED_BATCH,
        f"/models/{MODEL}:{VERB}",
        "gemini_embeddings",
        "gemini_embeddings",
        "input tokens",
        {"batchEmbedContents": False},
    ),
    Endpoint(Dialect.OPENAI, Operation.MODERATE, "/moderations", "counting", "counting", "free, at OpenAI only"),
    Endpoint(Dialect.ANTHROPIC, Operation.COUNT, "/messages/count_tokens", "counting", "counting", "free"),
    Endpoint(
        Dialect.GEMINI,
        Operation.COUNT,
        f"/models/{MODEL}:{VERB}",
        "counting",
        "counting",
        "free",
        {"countTokens": False},
    ),
)
_BY_OPERATION = {(endpoint.dialect, endpoint.operation): endpoint for endpoint in ENDPOINTS}
# Nearly all calls are to one of these.
_OF_PATHS = {path: endpoint.dialect for endpoint in ENDPOINTS for path in endpoint.paths}

MODELS_PATHS = ("/v1/models", "/v1alpha/models", "/v1beta/models", "/openai/models", "/openai/v1/models")
"""`GET` lists the models that a key may use. A path below it shows one of them."""
BUDGET_PATH = "/v1/budget"
"""`GET` tells the holder of a key what is left."""
SHARED_PATHS = (MODELS_PATHS[0], BUDGET_PATH)
"""Clients of all dialects ask here and below. A header tells which one it is."""
DIALECT_HEADERS = {"anthropic-version": Dialect.ANTHROPIC, "x-goog-api-key": Dialect.GEMINI}
"""Headers that only the clients of one dialect send. The first that is there decides."""


@dataclass(frozen=True, slots=True)
class Root:
    """Paths whose clients read errors in one dialect: `path`, and all paths below it, even without an endpoint."""

    dialect: Dialect
    path: str
    has_verb: bool = False
    """True: of the paths below `path`, only those with a colon."""

    def contains(self, path: str) -> bool:
        """Whether `path`, without its query, is one of them."""
        return is_at_or_below(path, self.path) and (not self.has_verb or ":" in path[len(self.path) :])


FIRST_DIALECT = Dialect.OPENAI
"""All other paths get their errors in this one."""
ROOTS = (
    Root(Dialect.ANTHROPIC, "/v1/messages"),
    Root(Dialect.GEMINI, "/v1beta"),
    Root(Dialect.GEMINI, "/v1alpha"),
    Root(Dialect.GEMINI, "/v1/models", has_verb=True),
)


def endpoint_of(dialect: Dialect, operation: Operation) -> Endpoint | None:
    """Returns the row of an operation; None: the dialect has no such calls."""
    return _BY_OPERATION.get((dialect, operation))


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
    for root in ROOTS:
        if root.contains(bare):
            return root.dialect
    if ":" not in bare and any(is_at_or_below(bare, shared) for shared in SHARED_PATHS):
        for name, dialect in DIALECT_HEADERS.items():
            if name in headers:
                return dialect
    return FIRST_DIALECT


def is_at_or_below(path: str, root: str) -> bool:
    """Whether `path` begins with the segments of `root`."""
    return path.startswith(root) and path[len(root) :][:1] in {"", "/"}
