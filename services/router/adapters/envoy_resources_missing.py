"""What a client reads that asks for an endpoint which does not exist: its request, what to do, and what exists.

Most such requests come from a client whose base URL is a little off, or whose default is another API of its vendor.
"""

from __future__ import annotations

from services.kernel.endpoint import BUDGET_PATH, ENDPOINTS, MODELS_PATHS, VERB
from services.router.adapters.envoy_resources_access_log import METHOD_WITHOUT_KEYS, PATH_WITHOUT_KEYS

# Expressions for whole paths, and what users of clients that ask there can do. The first that matches decides. A text
# has no quote and no percent sign, because it becomes part of an expression.
_ADVICE = {
    "/v1(beta)?/v1(beta)?/.*": "This client adds the version itself: leave it out of the base URL.",
    "/(chat/completions|messages|responses|completions|embeddings)": (
        "This client does not add the version: let its base URL end in /v1."
    ),
    "/models/.*:[A-Za-z]+": "This client does not add the version: let its base URL end in /v1beta.",
    "/v1/(responses|conversations)(/.*)?": (
        "What a provider keeps belongs to the account that all keys share, so nobody can fetch or delete it here by "
        "its id: keep what POST /v1/responses answered."
    ),
    "/v1/(images|audio|videos|realtime|rerank|batches|messages/batches|fine_tuning|threads)(/.*)?": (
        "No answer there tells what a limit could count, so it is not served, whatever the policies say."
    ),
    "/openai/.*": (
        "Of the paths of Azure, those of chats, completions, embeddings and responses are served; a deployment has the "
        "name of a model."
    ),
}
_ADVICE_OF_PATH = "".join(
    f"request.url_path.matches('^({pattern})$') ? ' {advice}' : " for pattern, advice in _ADVICE.items()
)
_CALLS = ", ".join(
    f"POST {row.paths[-1].replace(VERB, next(iter(row.verbs), ''))} ({row.dialect})" for row in ENDPOINTS
)

MISSING_ENDPOINT = (
    f"There is no endpoint {METHOD_WITHOUT_KEYS} {PATH_WITHOUT_KEYS} here.%CEL({_ADVICE_OF_PATH}'')% "
    f"Calls go to {_CALLS}. GET {MODELS_PATHS[0]} lists the models, GET {BUDGET_PATH} shows what is left."
)
"""The text of the answer, in which Envoy fills in the request and the advice."""
