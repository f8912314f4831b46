from __future__ import annotations

import re

import pytest

from services.kernel.dialect import Dialect
from services.kernel.endpoint import ENDPOINTS, MODEL, ROOTS, SHARED_PATHS, VERB, Operation, dialect_of

CLAUDE, GOOGLE = "anthropic-version", "x-goog-api-key"


@pytest.mark.parametrize(
    ("path", "headers", "dialect"),
    [
        ("/v1/chat/completions", (), Dialect.OPENAI),
        ("/v1/chat/completions", (CLAUDE,), Dialect.OPENAI),
        ("/", (CLAUDE, GOOGLE), Dialect.OPENAI),
        ("/v1/models", (), Dialect.OPENAI),
        ("/v1/models?limit=1", (CLAUDE,), Dialect.ANTHROPIC),
        ("/v1/models/gpt-4o?x=:", (), Dialect.OPENAI),
        ("/v1/models/lab/tiny", (GOOGLE,), Dialect.GEMINI),
        ("/v1/budget", (CLAUDE, GOOGLE), Dialect.ANTHROPIC),
        ("/v1/budgets", (CLAUDE,), Dialect.OPENAI),
        ("/v1/messages", (), Dialect.ANTHROPIC),
        ("/v1/messages/count_tokens?beta=true", (), Dialect.ANTHROPIC),
        ("/v1/messagesX", (), Dialect.OPENAI),
        ("/v1beta/models/gemini-2.5-pro:generateContent", (), Dialect.GEMINI),
        ("/v1beta/models", (CLAUDE,), Dialect.GEMINI),
        ("/v1/models/gemini-2.5-pro:streamGenerateContent?alt=sse", (CLAUDE,), Dialect.GEMINI),
        ("/v1/models/gemini-2.5-pro:countTokens", (), Dialect.GEMINI),
        ("/v1alpha/models", (CLAUDE,), Dialect.GEMINI),
        ("/v1/embeddings?x=y", (CLAUDE,), Dialect.OPENAI),
    ],
)
def test_path_and_headers_tell_the_dialect_to_answer_in(path: str, headers: tuple[str, ...], dialect: Dialect) -> None:
    assert dialect_of(path, headers) is dialect


def test_each_dialect_has_chats_and_the_calls_of_each_row_are_answered_in_its_dialect() -> None:
    assert [row.dialect for row in ENDPOINTS if row.operation is Operation.CHAT] == list(Dialect)
    for row in ENDPOINTS:
        for path in row.paths:
            asked = [path.replace(MODEL, "lab/llama3:8b").replace(VERB, verb) for verb in row.verbs or ("",)]
            assert {dialect_of(each) for each in asked} == {row.dialect}


def test_no_two_rows_are_for_one_operation_or_one_path() -> None:
    operations = [(row.dialect, row.operation) for row in ENDPOINTS]
    paths = [path.replace(VERB, verb) for row in ENDPOINTS for path in row.paths for verb in row.verbs or ("",)]

    assert len({*operations}) == len(operations)
    assert len({*paths}) == len(paths)


def test_paths_are_plain_enough_for_all_who_match_them() -> None:
    paths = [path for endpoint in ENDPOINTS for path in endpoint.paths]
    roots = [root.path for root in ROOTS]

    assert all(re.fullmatch(r"(/[a-z0-9_{}:]+)+", path) for path in [*paths, *roots, *SHARED_PATHS])
