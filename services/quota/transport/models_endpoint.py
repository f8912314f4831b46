"""`GET /v1/models` and its variants list the models of a key. They are free and work with a used-up budget."""

from __future__ import annotations

from services.kernel.dialect import Dialect
from services.quota.domain.policies.denial import Deny
from services.quota.transport.dialects.answer import HttpAnswer
from services.quota.transport.dialects.envelopes import envelope_of
from services.quota.usecases.authenticate import ListModels


class ModelsEndpoint:
    """Answers in the client's dialect. Models that the key may not use, or the dialect cannot call, do not exist."""

    def __init__(self, list_models: ListModels) -> None:
        self._list_models = list_models

    def answer(self, credential: str, model: str | None, dialect: Dialect, request_id: str) -> HttpAnswer | Deny:
        """The list of models, or only the requested `model`."""
        if model is None:
            names = self._list_models(credential, dialect)
            return names if isinstance(names, Deny) else envelope_of(dialect).list_models(names, request_id)
        found = self._list_models.one(credential, model, dialect)
        return found if isinstance(found, Deny) else envelope_of(dialect).show_model(found, request_id)
