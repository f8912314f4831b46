"""One table of paths and dialects: Python, the scripts, the routes and the local replies read it the same way."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spendgate_envoy.envoy.config.accesslog.v3 import accesslog_pb2
from spendgate_envoy.envoy.config.route.v3 import route_components_pb2
from spendgate_envoy.envoy.service.auth.v3 import external_auth_pb2

from services.kernel.dialect import Dialect
from services.kernel.endpoint import DIALECT_HEADERS, ENDPOINTS, FIRST_DIALECT, MODEL, VERB, Endpoint, dialect_of
from services.kernel.envoy_contract import KEY_HEADERS
from services.quota.transport.check_request import read_check
from services.router.adapters.envoy_resources_endpoints import call_match, is_asked_in
from tests.worlds.lua_scripts import load_module, new_runtime, wire

LUA = new_runtime()
PATHS = load_module("paths", LUA)
NEW_HEADERS = LUA.eval("function(names) return { get = function(_, name) return names[name] end } end")

SEGMENTS = st.sampled_from(
    [
        *("v1", "v1beta", "v1alpha", "messages", "messagesX", "models", "models:x", "budget", "budgets", "chat", "lab"),
        *("completions", "count_tokens", "m", "llama3:8b", "m:generateContent", "m:streamGenerateContent", ":", "%2f"),
        *("embeddings", "m:embedContent", "m:batchEmbedContents"),
    ]
)
QUERIES = st.sampled_from(["", "?", "?a=:", "?alt=sse", "?/v1/messages", "?a?b"])
PATH_TEXTS = st.builds(
    lambda segments, end, query: "/" + "/".join(segments) + end + query,
    st.lists(SEGMENTS, max_size=5),
    st.sampled_from(["", "/"]),
    QUERIES,
)
LOCAL_REPLIES = {dialect: is_asked_in(dialect) for dialect in DIALECT_HEADERS.values()}
CALLS = {endpoint: call_match(endpoint) for endpoint in ENDPOINTS}
HEADERS = st.sets(st.sampled_from([*DIALECT_HEADERS, "authorization"]))


def told_by_scripts(path: str, headers: set[str]) -> str:
    return str(PATHS.dialect_of(wire(path), NEW_HEADERS(LUA.table_from(dict.fromkeys(headers, "x")))))


def passes(condition: accesslog_pb2.AccessLogFilter, path: str, headers: set[str]) -> bool:
    """Whether Envoy's filter passes a request: of all filters, those that local replies are chosen by."""
    match condition.WhichOneof("filter_specifier"):
        case "or_filter":
            return any(passes(each, path, headers) for each in condition.or_filter.filters)
        case "and_filter":
            return all(passes(each, path, headers) for each in condition.and_filter.filters)
        case "header_filter":
            header = condition.header_filter.header
            value = path if header.name == ":path" else ("x" if header.name in headers else None)
            return value is not None and re.fullmatch(header.string_match.safe_regex.regex, value) is not None
    raise AssertionError(condition)


def is_routed(match: route_components_pb2.RouteMatch, path: str) -> bool:
    """Whether Envoy's route matches a path without its query."""
    if match.HasField("safe_regex"):
        return re.fullmatch(match.safe_regex.regex, path) is not None
    return path == match.path


def told_by_local_replies(path: str, headers: set[str]) -> str:
    for dialect, condition in LOCAL_REPLIES.items():
        if passes(condition, path, headers):
            return dialect
    return FIRST_DIALECT


@settings(deadline=None)
@given(PATH_TEXTS, HEADERS)
def test_python_scripts_and_local_replies_answer_in_the_same_dialect(path: str, headers: set[str]) -> None:
    dialect = dialect_of(path, headers)

    assert (told_by_scripts(path, headers), told_by_local_replies(path, headers)) == (dialect, dialect)


def test_local_replies_tell_all_dialects_apart_but_the_first() -> None:
    assert [FIRST_DIALECT, *DIALECT_HEADERS.values()] == list(Dialect)


@settings(deadline=None)
@given(PATH_TEXTS)
def test_a_path_that_is_routed_is_of_the_dialect_whose_calls_go_there(path: str) -> None:
    bare = path.partition("?")[0]
    routed = [row for row, match in CALLS.items() if is_routed(match, bare)]
    call, model = PATHS.call_at(wire(bare)), None
    if isinstance(call, tuple):
        call, model = call

    assert [row.scan for row in routed] == ([] if call is None else [call.scan])
    for row in routed:
        assert (dialect_of(path), call.dialect) == (row.dialect, row.dialect)
        assert (MODEL in row.path) == bool(model)


@pytest.mark.parametrize("model", ["tiny", "lab/llama3:8b", "a:generateContent"])
@pytest.mark.parametrize(
    ("row", "path", "verb"),
    [(row, path, verb) for row in ENDPOINTS for path in row.paths for verb in row.verbs],
)
def test_scripts_read_model_and_stream_from_the_paths_that_name_them(
    row: Endpoint, path: str, verb: str, model: str
) -> None:
    asked = path.replace(MODEL, model).replace(VERB, verb)
    call, named = PATHS.call_at(asked)

    assert (named, call.stream, call.scan) == (model, row.verbs[verb], row.scan)
    assert (call.meter or call.dialect) == row.meter
    assert [each for each, match in CALLS.items() if is_routed(match, asked)] == [row]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: str(endpoint.name))
def test_each_endpoint_has_a_table_for_the_scan_and_one_for_the_meter(endpoint: Endpoint) -> None:
    path = endpoint.paths[0].replace(MODEL, "m").replace(VERB, next(iter(endpoint.verbs), ""))
    passed, found = LUA.globals().pcall(load_module("scan", LUA).body, '{"model":"m"}', endpoint.dialect, path)[:2]

    # A refusal is a table, a missing table of the scan a text.
    assert passed or not isinstance(found, str)
    assert load_module("meter/answer").new(endpoint.meter, False, False).dialect is not None


@pytest.mark.parametrize("name", KEY_HEADERS)
def test_scripts_look_for_keys_where_quota_finds_them(name: str) -> None:
    key = "Bearer some-key-of-a-client" if name == "authorization" else "some-key-of-a-client"
    request = external_auth_pb2.CheckRequest()
    request.attributes.request.http.headers[name] = key
    headers = NEW_HEADERS(LUA.table_from({name: key}))

    assert read_check(request.SerializeToString()).credential == "some-key-of-a-client"
    assert load_module("good_keys", LUA).shown(headers) is not None
    assert load_module("secret", LUA).is_in(headers, "x some-key-of-a-client x")
