"""Reads Envoy's question: the bytes of `envoy.service.auth.v3.CheckRequest`.

Envoy has already removed the headers that clients may not set, and has scanned the body. The body itself never comes
here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from google.protobuf import struct_pb2
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2

from services.kernel.dialect import Dialect
from services.kernel.endpoint import BUDGET_PATH, MODELS_PATHS, Operation, dialect_of
from services.kernel.envoy_contract import (
    ADMIN_PLANE,
    BETA_HEADER,
    KEY_STAGE,
    PLANE_EXTENSION,
    REQUEST_NAMESPACE,
    RUN_HEADER,
    STAGE_EXTENSION,
    TAGS_HEADER,
    RequestKey,
)
from services.quota.domain.admission.betas import read_betas
from services.quota.domain.admission.request_facts import RequestFacts

_MODELS_PATH = re.compile(f"(?:{'|'.join(MODELS_PATHS)})(?:/(?P<model>.{{1,256}}))?")
# Longer than any stored key can be, so not worth hashing.
_LONGEST_CREDENTIAL = 512
_MOST_TAGS = 8
# Commas join pairs, and control characters could forge a line in somebody's log.
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}=[!-+\--~]{1,64}")
_LONGEST_TAG = 64
_OUR_KEYS = re.compile("sp[ga]_")
_WITHHELD = "(withheld)"
_RUN = re.compile(r"[!-~]{1,64}")
_PASSED_QUERIES = {Dialect.GEMINI: ("alt=sse",), Dialect.ANTHROPIC: ("beta=true",)}
_NO_FEATURES = frozenset[str]()
_NO_EXTENSIONS: Mapping[str, str] = {}
_DIALECTS = {dialect.value: dialect for dialect in Dialect}
_OPERATIONS = {operation.value: operation for operation in Operation}
_COUNTS = frozenset(
    {
        RequestKey.BODY_BYTES,
        RequestKey.DATA_URI_BYTES,
        RequestKey.IMAGES,
        RequestKey.AUDIO_BYTES,
        RequestKey.GROWTH_BYTES,
        RequestKey.CHOICES,
        RequestKey.MAX_OUTPUT_TOKENS,
        RequestKey.THINKING_TOKENS,
    }
)
# The largest integer that a Struct's double holds exactly. Nothing that Envoy counts comes near it.
_LARGEST_COUNT = 2**53


@dataclass(frozen=True, slots=True)
class Scan:
    """The results of Envoy's scan of the body; see `services.kernel.envoy_contract.RequestKey`."""

    dialect: Dialect
    model: str
    facts: RequestFacts


@dataclass(frozen=True, slots=True)
class ModelsQuestion:
    """A request for the list of models, or for one of them."""

    model: str | None
    """The one model; None: all models."""


@dataclass(frozen=True, slots=True)
class Check:
    """One question from Envoy."""

    admin: bool
    """The question comes from the admin listener, where the credential must be an admin token."""
    asks_for_key: bool
    """The question comes before the body, and only asks whether the key is good."""
    speaks_grpc: bool
    """The client speaks gRPC, which only the admin listener takes; otherwise it speaks HTTP with JSON."""
    dialect: Dialect
    """The dialect of the answer."""
    method: str
    path: str
    """The path with its query."""
    request_id: str
    """Envoy's own id of the request; empty if Envoy sent none."""
    credential: str = field(repr=False)
    """The key that the client presented; empty if it presented none. We never log it or put it into an answer."""
    traceparent: str
    """The client's traceparent, or empty."""
    tags: str
    run: str
    scan: Scan | None
    """None: there was no readable body, or it named no model."""

    @property
    def models_question(self) -> ModelsQuestion | None:
        """The question for the list of models or for one of them; None: it asks for something else."""
        match = _models_path(self.path) if self.method == "GET" else None
        return None if match is None else ModelsQuestion(unquote(match["model"]) if match["model"] else None)

    @property
    def asks_for_budget(self) -> bool:
        """Whether the holder of a key asks for its remaining budget."""
        return self.method == "GET" and _without_query(self.path) == BUDGET_PATH

    @property
    def passed_query(self) -> str:
        """The part of the query that goes to the provider: how Gemini streams, or that Anthropic's betas are meant.

        Nothing else does: `key=` may hold a virtual key.
        """
        if "?" not in self.path:
            return ""
        asked = self.path.partition("?")[2].split("&")
        return next((part for part in _PASSED_QUERIES.get(self.dialect, ()) if part in asked), "")


def read_check(message: bytes) -> Check:
    """Reads one CheckRequest.

    Raises:
        google.protobuf.message.DecodeError: the bytes are not a CheckRequest.
    """
    attributes = external_auth_pb2.CheckRequest.FromString(message).attributes
    http = attributes.request.http
    headers = http.headers
    path = http.path
    # Calls have none.
    context = attributes.context_extensions or _NO_EXTENSIONS
    admin = context.get(PLANE_EXTENSION) == ADMIN_PLANE
    credential = _credential(headers)
    tags, run = headers.get(TAGS_HEADER), headers.get(RUN_HEADER)
    filters = attributes.metadata_context.filter_metadata
    return Check(
        admin=admin,
        asks_for_key=context.get(STAGE_EXTENSION) == KEY_STAGE,
        speaks_grpc=admin and headers.get("content-type", "").startswith("application/grpc"),
        dialect=dialect_of(path, headers),
        method=http.method,
        path=path,
        request_id=headers.get("x-request-id") or http.id,
        credential=credential,
        traceparent=headers.get("traceparent") or "",
        tags=_tags(tags, credential) if tags else "",
        run=_run(run, credential) if run else "",
        scan=_scan(filters[REQUEST_NAMESPACE], headers, credential) if REQUEST_NAMESPACE in filters else None,
    )


def _models_path(path: str) -> re.Match[str] | None:
    return _MODELS_PATH.fullmatch(_without_query(path))


def _without_query(path: str) -> str:
    return path.partition("?")[0]


def _credential(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    presented = token.strip()
    if not (presented and scheme.lower() == "bearer"):
        presented = headers.get("x-api-key") or headers.get("api-key") or headers.get("x-goog-api-key") or ""
    # We look up an overlong credential like any other wrong one, without hashing megabytes.
    return presented[:_LONGEST_CREDENTIAL]


def _tags(text: str, credential: str) -> str:
    """The well-formed pairs. Tags are only for reports, so a call with a bad one is not refused."""
    pairs = (pair.strip() for pair in text.split(",")[:_MOST_TAGS])
    return ",".join(
        pair
        for pair in pairs
        if len(pair) <= _LONGEST_TAG and _TAG.fullmatch(pair) and not _holds_key(pair, credential)
    )


def _run(text: str, credential: str) -> str:
    return text if _RUN.fullmatch(text) and not _holds_key(text, credential) else ""


def withhold_key(text: str, credential: str) -> str:
    """The text, unless it contains one of our keys or the presented credential."""
    return _WITHHELD if _holds_key(text, credential) else text


def _holds_key(text: str, credential: str) -> bool:
    """Whether a text that we will log or show contains one of our keys, or the presented credential."""
    return _OUR_KEYS.search(text) is not None or (credential != "" and credential in text)


def _scan(struct: struct_pb2.Struct, headers: Mapping[str, str], credential: str) -> Scan | None:
    # Each look into the message costs as much as ten into a dict.
    fields = struct.fields
    said = {name: fields[name] for name in fields}
    dialect, model = _DIALECTS.get(_text(said, RequestKey.DIALECT)), _text(said, RequestKey.MODEL)
    # A chat says nothing of it. Of any other word we know neither what it takes nor whether it has a price.
    operation = _OPERATIONS.get(_text(said, RequestKey.OPERATION)) if RequestKey.OPERATION in said else Operation.CHAT
    if dialect is None or operation is None or not model:
        return None
    if operation is not Operation.CHAT and operation.is_free:
        # Nothing in it can cost anything.
        return Scan(dialect, model, RequestFacts(0, max_output_tokens=0, operation=operation))
    # The facts that are counts have the names of their keys.
    counts = {"body_bytes": 0} | {name: _count(value) for name, value in said.items() if name in _COUNTS}
    unknown = _names(said[RequestKey.UNKNOWN_MEMBERS]) if RequestKey.UNKNOWN_MEMBERS in said else ()
    options = _names(said[RequestKey.PRICE_OPTIONS]) if RequestKey.PRICE_OPTIONS in said else ()
    window_tokens = 0
    # No other dialect lets the header pass.
    if dialect is Dialect.ANTHROPIC:
        betas = read_betas(headers.get(BETA_HEADER, ""))
        unknown, window_tokens = unknown + betas.unknown, betas.window_tokens
    facts = RequestFacts(
        **counts,
        features=frozenset(_names(said[RequestKey.FEATURES])) if RequestKey.FEATURES in said else _NO_FEATURES,
        stream=RequestKey.STREAM in said and said[RequestKey.STREAM].bool_value,
        include_usage=RequestKey.INCLUDE_USAGE in said and said[RequestKey.INCLUDE_USAGE].bool_value,
        unknown_members=_without_keys(unknown, credential) if unknown else (),
        window_tokens=window_tokens,
        price_options=_without_keys(options, credential) if options else (),
        operation=operation,
    )
    return Scan(dialect, model, facts if facts.choices else replace(facts, choices=1))


def _text(said: Mapping[str, struct_pb2.Value], key: RequestKey) -> str:
    return said[key].string_value if key in said else ""


def _names(value: struct_pb2.Value) -> tuple[str, ...]:
    return tuple([name for name in value.string_value.split(",") if name])


def _without_keys(names: tuple[str, ...], credential: str) -> tuple[str, ...]:
    """The names that the client chose freely, each once. We show and store them, so none may contain a key."""
    return tuple({withhold_key(name, credential): None for name in names})


def _count(value: struct_pb2.Value) -> int:
    """An integer, rounded up. A value that is not a count reads as the largest, so it cannot pass as small."""
    number = value.number_value
    is_number = number != 0 or value.HasField("number_value")
    # Nothing compares with a value that is not a number (NaN).
    return int(-(-number // 1)) if is_number and 0 <= number <= _LARGEST_COUNT else _LARGEST_COUNT
