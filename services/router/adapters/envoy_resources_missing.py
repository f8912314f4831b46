"""What a client reads that asks for an endpoint which does not exist: its request, what to do, and what exists.

Most such requests come from a client whose base URL is a little off, or whose default is another API of its vendor.
"""

from __future__ import annotations

from services.kernel.dialect import BUDGET_PATH, ENDPOINTS, MODELS_PATHS, VERB, VERBS
from services.router.adapters.envoy_resources_access_log import METHOD_WITHOUT_KEYS, PATH_WITHOUT_KEYS

# Expressions for whole paths, and what users of clients that ask there can do. The first that matches decides. A text
# has no quote and no percent sign, because it becomes part of an expression.
_ADVICE = {
    "/v1(beta)?/v1(beta)?/.*": "This client adds the version itself: leave it out of the base URL.",
    "/(chat/completions|messages|responses|completions|embeddings)": (
        "This client does not add the version: let its base URL end in /v1."
    ),
    "/models/.*:[A-Za-z]+": "This client does not add the version: let its base URL end in /v1beta.",
    "/v1/responses(/.*)?": (
        "The Responses API is not served: set the client to Chat Completions, for example with "
        "set_default_openai_api in openai-agents, or openai.chat in the Vercel AI SDK."
    ),
    "/v1/completions": "Send messages to POST /v1/chat/completions instead of a prompt to this path.",
    "/v1/messages/count_tokens|/v1(beta)?/models/.*:countTokens": (
        "Counting ahead is not served. Each answer tells its tokens."
    ),
    "/openai/.*": "The paths of Azure are not served: use the plain OpenAI client with a base URL that ends in /v1.",
}
_ADVICE_OF_PATH = "".join(
    f"request.url_path.matches('^({pattern})$') ? ' {advice}' : " for pattern, advice in _ADVICE.items()
)
_CALLS = ", ".join(
    f"POST {endpoint.paths[-1].replace(VERB, next(iter(VERBS)))} ({endpoint.dialect})" for endpoint in ENDPOINTS
)

MISSING_ENDPOINT = (
    f"There is no endpoint {METHOD_WITHOUT_KEYS} {PATH_WITHOUT_KEYS} here.%CEL({_ADVICE_OF_PATH}'')% "
    f"Calls go to {_CALLS}. GET {MODELS_PATHS[0]} lists the models, GET {BUDGET_PATH} shows what is left."
)
"""The text of the answer, in which Envoy fills in the request and the advice."""
