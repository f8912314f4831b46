"""`spendgate.quota.v1.AdminService`: manages admin tokens and lists the audit log."""

from __future__ import annotations

from functools import partial

import grpc
from spendgate.quota.v1 import admin_service_pb2 as pb
from spendgate.quota.v1 import admin_service_pb2_grpc as pb_grpc
from spendgate.type.v1 import role_pb2

from services.chassis.audit import AuditLog
from services.chassis.authorship import mutation_by
from services.chassis.enums import enum_table
from services.chassis.grpc_server import Registration
from services.chassis.named import find_named, page_of_named
from services.chassis.well_known import read_timestamp, timestamp
from services.kernel.change import Role
from services.kernel.clock import Clock
from services.kernel.errors import InvalidInput
from services.quota.domain.identity.admin_token import AdminToken
from services.quota.usecases.admin_tokens import AdminTokens

SERVICE = "spendgate.quota.v1.AdminService"
_ROLES = enum_table(role_pb2.Role, Role)


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
    ) -> pb.CreateAdminTokenResponse:
        """Creates a token. Only this answer contains its secret."""
        token = request.admin_token
        role = _ROLES.members.get(token.role)
        if role is None:
            raise InvalidInput("admin_token.role", f"say which: {', '.join(Role)}")
        if not token.HasField("expire_time"):
            raise InvalidInput("admin_token.expire_time", "say when it expires, at most 366 days ahead")
        by = mutation_by(context, request, request.reason)
        expire_at_ms = read_timestamp("admin_token.expire_time", token.expire_time)
        minted = self._tokens.create(token.name, role, token.team, expire_at_ms, by=by)
        return pb.CreateAdminTokenResponse(admin_token=self._write_token(minted.token), secret=minted.secret)

    def GetAdminToken(
        self, request: pb.GetAdminTokenRequest, context: grpc.ServicerContext
    ) -> pb.GetAdminTokenResponse:
        """Shows one token, without its secret."""
        token = find_named("admin token", request.name, self._tokens.list())
        return pb.GetAdminTokenResponse(admin_token=self._write_token(token))

    def ListAdminTokens(
        self, request: pb.ListAdminTokensRequest, context: grpc.ServicerContext
    ) -> pb.ListAdminTokensResponse:
        """Lists the tokens by name, without their secrets."""
        page, following = page_of_named(self._tokens.list(), request)
        return pb.ListAdminTokensResponse(
            admin_tokens=[self._write_token(token) for token in page], next_page_token=following
        )

    def RevokeAdminToken(
        self, request: pb.RevokeAdminTokenRequest, context: grpc.ServicerContext
    ) -> pb.RevokeAdminTokenResponse:
        """Removes a token."""
        gone = self._tokens.revoke(request.name, by=mutation_by(context, request, request.reason))
        return pb.RevokeAdminTokenResponse(admin_token=self._write_token(gone))

    def ListAuditEntries(
        self, request: pb.ListAuditEntriesRequest, context: grpc.ServicerContext
    ) -> pb.ListAuditEntriesResponse:
        """Lists changes, newest first."""
        page = self._audit.page(request)
        return pb.ListAuditEntriesResponse(audit_entries=page.audit_entries, next_page_token=page.next_page_token)

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
