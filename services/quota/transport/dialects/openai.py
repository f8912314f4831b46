"""Answers as the OpenAI SDK reads them: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from collections.abc import Sequence

from services.quota.transport.dialects.answer import HttpAnswer, Json, json_answer, request_id_headers
from services.quota.transport.dialects.wording import Wording


def refuse(wording: Wording, request_id: str) -> HttpAnswer:
    """A refusal."""
    error: dict[str, Json] = {
        "message": wording.message,
        "type": wording.openai_type,
        "param": wording.param,
        "code": wording.classification.openai_code,
        "details": wording.details,
    }
    return json_answer(
        wording.classification.status, {"error": error}, *wording.headers, *request_id_headers(request_id)
    )


def list_models(models: Sequence[str], request_id: str) -> HttpAnswer:
    """`GET /v1/models`."""
    body: Json = {"object": "list", "data": [_model(model) for model in models]}
    return json_answer(200, body, *request_id_headers(request_id))


def show_model(model: str, request_id: str) -> HttpAnswer:
    """`GET /v1/models/{model}`."""
    return json_answer(200, _model(model), *request_id_headers(request_id))


def _model(model: str) -> Json:
    # The field is mandatory, but the time when a name was created says nothing about the model.
    return {"id": model, "object": "model", "created": 0, "owned_by": "spendgate"}
