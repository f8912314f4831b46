"""Answers as the Anthropic SDK reads them: `{"type": "error", "error": {"type", "message"}, "request_id"}`.

The SDK takes the id from the header `request-id`, and a stable code from `error.details.error_code`.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.quota.transport.dialects.answer import HttpAnswer, Json, json_answer, request_id_headers
from services.quota.transport.dialects.wording import Wording


def refuse(wording: Wording, request_id: str) -> HttpAnswer:
    """A refusal."""
    error: dict[str, Json] = {
        "type": wording.classification.anthropic_type,
        "message": wording.message,
        "details": {"error_code": wording.classification.openai_code, **wording.details},
    }
    body: dict[str, Json] = {"type": "error", "error": error, "request_id": request_id or None}
    return json_answer(wording.classification.status, body, *wording.headers, *request_id_headers(request_id))


def list_models(models: Sequence[str], request_id: str) -> HttpAnswer:
    """`GET /v1/models`, all in one page: there are never enough models for two."""
    body: dict[str, Json] = {
        "data": [_model(model) for model in models],
        "has_more": False,
        "first_id": models[0] if models else None,
        "last_id": models[-1] if models else None,
    }
    return json_answer(200, body, *request_id_headers(request_id))


def show_model(model: str, request_id: str) -> HttpAnswer:
    """`GET /v1/models/{model}`."""
    return json_answer(200, _model(model), *request_id_headers(request_id))


def _model(model: str) -> Json:
    return {"type": "model", "id": model, "display_name": model, "created_at": "1970-01-01T00:00:00Z"}
