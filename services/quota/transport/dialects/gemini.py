"""Answers as the Google Gen AI SDK reads them: a `google.rpc.Status` in JSON, with its standard details."""

from __future__ import annotations

from collections.abc import Sequence

from services.quota.transport.dialects.answer import HttpAnswer, Json, json_answer, request_id_headers
from services.quota.transport.dialects.wording import Wording

_TYPE = "type.googleapis.com/google.rpc."
_DOMAIN = "spendgate"


def refuse(wording: Wording, request_id: str) -> HttpAnswer:
    """A refusal."""
    error: dict[str, Json] = {
        "code": wording.classification.status,
        "message": wording.message,
        "status": wording.classification.gemini_status,
        "details": _details(wording, request_id),
    }
    return json_answer(
        wording.classification.status, {"error": error}, *wording.headers, *request_id_headers(request_id)
    )


def list_models(models: Sequence[str], request_id: str) -> HttpAnswer:
    """`GET /v1beta/models`."""
    return json_answer(200, {"models": [_model(model) for model in models]}, *request_id_headers(request_id))


def show_model(model: str, request_id: str) -> HttpAnswer:
    """`GET /v1beta/models/{model}`."""
    return json_answer(200, _model(model), *request_id_headers(request_id))


def _details(wording: Wording, request_id: str) -> list[Json]:
    metadata: dict[str, Json] = {name: str(value) for name, value in wording.details.items() if name != "reason"}
    details: list[Json] = [
        {
            "@type": f"{_TYPE}ErrorInfo",
            "reason": str(wording.details["reason"]).upper(),
            "domain": _DOMAIN,
            "metadata": {**metadata, "code": wording.classification.openai_code},
        }
    ]
    if "policy" in wording.details:
        violation: Json = {"subject": wording.details["policy"], "description": wording.message}
        details.append({"@type": f"{_TYPE}QuotaFailure", "violations": [violation]})
    if wording.retry_after_ms is not None:
        details.append({"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{wording.retry_after_ms / 1000:.3f}s"})
    if request_id:
        details.append({"@type": f"{_TYPE}RequestInfo", "requestId": request_id})
    return details


def _model(model: str) -> Json:
    return {
        "name": f"models/{model}",
        "displayName": model,
        "supportedGenerationMethods": ["generateContent", "streamGenerateContent"],
    }
