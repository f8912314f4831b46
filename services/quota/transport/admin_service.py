"""`spendgate.quota.v1.AdminService`: manages admin tokens and lists the audit log."""

from __future__ import annotations

from functools import partial

import grpc
from spendgate.quota.v1 import admin_service_pb2 as pb
from spendgate.quota.v1 import admin_service_pb2_grpc as pb_grpc
from spendgate.type.v1 import audit_pb2

from services.chassis.audit import AuditLog
from services.chassis.authorship import authorship_of
from services.chassis.enums import enum_table
from services.chassis.grpc_server import Registration
from services.chassis.paging import page_of
from services.chassis.well_known import timestamp
from services.kernel.clock import Clock
from services.kernel.errors import InvalidInput
from services.quota.domain.identity.access import Role
from services.quota.domain.identity.admin_token import AdminToken
from services.quota.usecases.admin_tokens import AdminTokens

SERVICE = "spendgate.quota.v1.AdminService"
_ROLES = enum_table(pb.Role, Role)


class AdminService(pb_grpc.AdminServiceServicer):
    """Manages admin tokens and lists the audit log."""

    def __init__(self, *, tokens: AdminTokens, audit: AuditLog, clock: Clock) -> None:
        self._tokens = tokens
        self._audit = audit
        self._clock = clock

    @property
    def registration(self) -> Registration:
        """Registers the service with a server."""
        return Registration(SERVICE, partial(pb_grpc.add_AdminServiceServicer_to_server, self))

    def CreateAdminToken(
        self, request: pb.CreateAdminTokenRequest, context: grpc.ServicerContext
    ) -> pb.AdminTokenSecret:
        """Creates a token. Only this answer contains its secret."""
        token = request.token
        role = _ROLES.members.get(token.role)
        if role is None:
            raise InvalidInput("token.role", f"say which: {', '.join(Role)}")
        if not token.HasField("expire_time"):
            raise InvalidInput("token.expire_time", "say when it expires, at most 366 days ahead")
        by = authorship_of(context, request.reason)
        minted = self._tokens.create(token.name, role, token.team, token.expire_time.ToMilliseconds(), by=by)
        return pb.AdminTokenSecret(token=self._write_token(minted.token), secret=minted.secret)

    def ListAdminTokens(
        self, request: pb.ListAdminTokensRequest, context: grpc.ServicerContext
    ) -> pb.ListAdminTokensResponse:
        """Lists the tokens by name, without their secrets."""
        page, following = page_of(
            self._tokens.list(), lambda token: token.name, page_size=request.page_size, page_token=request.page_token
        )
        return pb.ListAdminTokensResponse(
            admin_tokens=[self._write_token(token) for token in page], next_page_token=following
        )

    def RevokeAdminToken(self, request: pb.RevokeAdminTokenRequest, context: grpc.ServicerContext) -> pb.AdminToken:
        """Removes a token."""
        return self._write_token(self._tokens.revoke(request.name, by=authorship_of(context, request.reason)))

    def ListAuditEntries(
        self, request: audit_pb2.ListAuditEntriesRequest, context: grpc.ServicerContext
    ) -> audit_pb2.ListAuditEntriesResponse:
        """Lists changes, newest first."""
        page = self._audit.page(request)
        return audit_pb2.ListAuditEntriesResponse(
            audit_entries=page.audit_entries, next_page_token=page.next_page_token
        )

    def _write_token(self, token: AdminToken) -> pb.AdminToken:
        return pb.AdminToken(
            name=token.name,
            role=_ROLES.numbers[token.role],
            team=token.team,
            expire_time=timestamp(token.expire_at_ms),
            create_time=timestamp(token.create_at_ms),
            hint=token.hint,
            expired=token.is_expired(self._clock.now_ms()),
        )
