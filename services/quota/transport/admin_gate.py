"""Guards the admin listener: only the holder of an admin token whose role may call the RPC passes."""

from __future__ import annotations

from google.rpc import code_pb2

from services.kernel.change import Actor
from services.kernel.clock import Clock, format_time
from services.kernel.errors import PermissionDenied
from services.quota.domain.identity.access import check_access
from services.quota.domain.identity.admin_token import ROOT
from services.quota.transport.admin_methods import method_of
from services.quota.transport.check_answer import write_admin_allow, write_denial
from services.quota.transport.check_request import Check
from services.quota.transport.dialects.answer import HttpAnswer, json_answer
from services.quota.transport.root_token import RootToken
from services.quota.usecases.admin_tokens import AdminTokens

_UNKNOWN = (
    "The admin token is missing or wrong. Send the contents of admin-token in the data directory, or a token from "
    "`spendgate tokens create`, as a bearer token."
)


class AdminGate:
    """Answers the Checks of the admin listener."""

    def __init__(self, root: RootToken, tokens: AdminTokens, clock: Clock) -> None:
        self._root = root
        self._tokens = tokens
        self._clock = clock

    def answer(self, check: Check) -> bytes:
        """Lets the request pass and adds the name of its actor, or refuses it and says why."""
        actor = self._identify(check.credential)
        if isinstance(actor, str):
            return write_denial(_refusal(check, 401, code_pb2.UNAUTHENTICATED, actor))
        try:
            check_access(actor, method_of(check.method, check.path))
        except PermissionDenied as error:
            return write_denial(_refusal(check, 403, code_pb2.PERMISSION_DENIED, str(error)))
        return write_admin_allow(actor)

    def _identify(self, credential: str) -> Actor | str:
        """The holder of this credential, or a sentence that says why there is none."""
        if self._root.matches(credential):
            return ROOT
        token = self._tokens.find(credential) if credential else None
        if token is None:
            return _UNKNOWN
        if token.is_expired(self._clock.now_ms()):
            return f"Admin token {token.name} expired on {format_time(token.expire_at_ms)}: ask for a new one."
        return token.actor


def _refusal(check: Check, status: int, code: int, text: str) -> HttpAnswer:
    """Plain text for gRPC, which Envoy puts into `grpc-message`; for REST the JSON of a `google.rpc.Status`."""
    challenge = (("www-authenticate", "Bearer"),) if status == 401 else ()
    if check.speaks_grpc:
        return HttpAnswer(status, (("content-type", "text/plain"), *challenge), text)
    return json_answer(status, {"code": code, "message": text, "details": []}, *challenge)
