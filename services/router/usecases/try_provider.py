"""Tries a provider with one real call, made by the router itself: nobody's budget pays for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from services.kernel.dialect import Dialect
from services.kernel.errors import InvalidInput
from services.kernel.names import split_target
from services.router.domain.configuration import Configuration
from services.router.domain.headers import ANTHROPIC_VERSION, ANTHROPIC_VERSION_HEADER
from services.router.domain.model import names_of
from services.router.domain.provider import Provider, faces_of
from services.router.domain.secret import CredentialProblem
from services.router.domain.trial import Post, Seen, Step, Trial, judged, smallest_call
from services.router.ports import Credentials

Call = Callable[[Post], Seen]
"""Makes a request, and never raises. It may take seconds."""


class TryProvider:
    """Tries any provider. It keeps nothing, so any thread may use it."""

    def __init__(self, credentials: Credentials, call: Call) -> None:
        self._credentials = credentials
        self._call = call

    def __call__(self, provider: Provider, model: str) -> Trial:
        """Makes the smallest call to a checked provider with its credential, in its own dialect. Blocks."""
        return _try(provider, model, self._credentials, self._call)


def _try(provider: Provider, model: str, credentials: Credentials, call: Call) -> Trial:
    face = faces_of(provider)[0]
    path, body = smallest_call(face, model)
    url = f"{'https' if face.origin.tls else 'http'}://{face.origin.host_header}{path}"
    trial = Trial(f"{provider.name}/{model}", face.dialect, url, provider.api_key, Seen(Step.CREDENTIAL))
    reading = credentials.read(provider.api_key)
    if isinstance(reading, CredentialProblem):
        return replace(trial, seen=Seen(Step.CREDENTIAL, error=reading.text), problem=reading.text)
    secret = reading.reveal()
    headers = {"content-type": "application/json", "accept": "application/json", "user-agent": "spendgate"}
    if secret:
        headers[face.credential_header] = face.credential_prefix + secret
    if face.dialect is Dialect.ANTHROPIC:
        headers[ANTHROPIC_VERSION_HEADER] = ANTHROPIC_VERSION
    seen = call(Post(face.origin, path, headers, body))
    return judged(replace(trial, seen=seen), secret)


def model_to_try(configuration: Configuration, provider: Provider, model: str) -> str:
    """Returns the provider's name for the model to ask for: the one given, or the first that a configured model has.

    Raises:
        InvalidInput: none is given, and no configured model has a target of this provider.
    """
    if model:
        return model.removeprefix(f"{provider.name}/")
    for configured in configuration.models:
        for name in names_of(configured):
            owner, upstream = split_target("target", name)
            if owner == provider.name:
                return upstream
    raise InvalidInput("model", f"no model has a target of {provider.name}: say which of its models to ask for")
