"""Answers Envoy's question whether a request may pass.

It serves `envoy.service.auth.v3.Authorization` with bytes on both sides, because most of an answer is serialised before
its question comes. A refusal is a complete HTTP answer in the client's dialect.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import grpc

from services.chassis.grpc_server import Registration
from services.chassis.unary_server import CallContext, Handler
from services.kernel.envoy_contract import EPOCH_HEADER
from services.kernel.errors import SpendgateError
from services.quota.domain.policies.denial import Denial, Deny
from services.quota.transport.admin_gate import AdminGate
from services.quota.transport.budget_endpoint import BudgetEndpoint
from services.quota.transport.call_trace import CallTrace, CallTraces
from services.quota.transport.check_answer import AllowWriter, write_body_may_come
from services.quota.transport.check_request import Check, Scan, read_check
from services.quota.transport.dialects.answer import HttpAnswer
from services.quota.transport.models_endpoint import ModelsEndpoint
from services.quota.transport.refusal import write_free_answer, write_refusal
from services.quota.usecases.admit import AdmissionRequest, Admit, Admitted
from services.quota.usecases.authenticate import Authenticate
from services.quota.usecases.settle import Release

SERVICE = "envoy.service.auth.v3.Authorization"
_NOT_READABLE = "its body must be a JSON object that names a model"

_log = logging.getLogger("spendgate.quota")


class Endpoints(NamedTuple):
    """The handlers of requests that are not calls to a model."""

    models: ModelsEndpoint
    budget: BudgetEndpoint
    admin: AdminGate


class Authorization:
    """Answers Checks, several at a time."""

    def __init__(
        self,
        *,
        admit: Admit,
        authenticate: Authenticate,
        release: Release,
        endpoints: Endpoints,
        allow: AllowWriter,
        traces: CallTraces,
    ) -> None:
        self._admit = admit
        self._authenticate = authenticate
        self._release = release
        self._endpoints = endpoints
        self._allow = allow
        self._traces = traces
        self._logged_outage = ""

    @property
    def registration(self) -> Registration:
        """Registers a handler without serialisers, because it takes and returns bytes."""
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {"Check": grpc.unary_unary_rpc_method_handler(self.check)}
        handler = grpc.method_handlers_generic_handler(SERVICE, methods)

        def register(server: Any) -> None:
            server.add_generic_rpc_handlers((handler,))

        return Registration(SERVICE, register)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """The same method, for a `UnaryServer`."""
        return {f"/{SERVICE}/Check": self.check}

    def check(self, message: bytes, context: CallContext) -> bytes:
        """Answers one CheckRequest. An exception below means that we could not decide, so the request does not pass."""
        check: Check | None = None
        trace = self._traces.unknown
        try:
            check = read_check(message)
            trace = self._traces.begin(check)
            return self._answer(check, trace, context)
        except Exception:  # noqa: BLE001  (whatever the cause, Envoy gets an answer)
            _log.exception("a Check could not be decided")
            return write_refusal(check, Deny(Denial.POLICY_UNAVAILABLE), trace)

    def _answer(self, check: Check, trace: CallTrace, context: CallContext) -> bytes:
        if check.admin:
            return self._endpoints.admin.answer(check)
        if check.asks_for_key:
            caller = self._authenticate(check.credential)
            return write_refusal(check, caller, trace) if isinstance(caller, Deny) else write_body_may_come(caller.key)
        if free := self._free_answer(check):
            return write_refusal(check, free, trace) if isinstance(free, Deny) else write_free_answer(free, trace)
        if check.scan is None:
            return write_refusal(check, Deny(Denial.MALFORMED, detail=_NOT_READABLE), trace)
        outcome = self._admit(_request(check, check.scan, _epoch(context)))
        if isinstance(outcome, Deny):
            self._log_outage(outcome)
            return write_refusal(check, outcome, trace)
        return self._let_through(outcome, check, trace, context)

    def _free_answer(self, check: Check) -> HttpAnswer | Deny | None:
        """The answer to a request that costs nothing; None: the request is a call."""
        if question := check.models_question:
            return self._endpoints.models.answer(check.credential, question.model, check.dialect, check.request_id)
        if check.asks_for_budget:
            return self._endpoints.budget.answer(check.credential, check.run, check.request_id)
        return None

    def _let_through(self, admitted: Admitted, check: Check, trace: CallTrace, context: CallContext) -> bytes:
        """Writes the answer. If nobody waits for it any longer, it gives the room back at once.

        If Envoy gives up just after this check, the ledger finds its line in the spool and releases the reservation by
        request id.
        """
        try:
            if context.is_active():
                return self._allow.write(admitted, check, trace)
        except Exception:
            self._give_back(admitted)
            raise
        self._give_back(admitted)
        return b""

    def _log_outage(self, deny: Deny) -> None:
        """Logs why we cannot decide: once for each reason, not for each of a thousand calls a second."""
        if deny.denial is Denial.POLICY_UNAVAILABLE and deny.detail != self._logged_outage:
            self._logged_outage = deny.detail
            _log.warning("calls are refused: %s", deny.detail)

    def _give_back(self, admitted: Admitted) -> None:
        try:
            self._release.by_id(admitted.reservation.id)
        except SpendgateError as error:
            _log.warning("reservation %s waits for the ledger to release it: %s", admitted.reservation.id, error)


def _request(check: Check, scan: Scan, epoch: str) -> AdmissionRequest:
    return AdmissionRequest(
        credential=check.credential,
        request_id=check.request_id,
        epoch=epoch,
        dialect=scan.dialect,
        model=scan.model,
        facts=scan.facts,
        run=check.run,
    )


def _epoch(context: CallContext) -> str:
    """The run of Envoy that asks; empty if it did not say."""
    for key, value in context.invocation_metadata():
        if key == EPOCH_HEADER:
            return str(value)
    return ""
