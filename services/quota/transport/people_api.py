"""`AdminService` and `OverrideService`: who may administer, the exceptions that they grant, and what they changed."""

from __future__ import annotations

import grpc
from spendgate.quota.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    override_service_pb2,
    override_service_pb2_grpc,
)
from spendgate.type.v1 import audit_pb2

from services.chassis.audit import AuditLog
from services.chassis.authorship import actor_of, authorship_of
from services.chassis.grpc_server import Registration
from services.chassis.paging import page_of
from services.chassis.well_known import timestamp, usd
from services.kernel.clock import Clock
from services.kernel.errors import InvalidInput
from services.quota.domain.access import Role
from services.quota.domain.admin_token import AdminToken
from services.quota.domain.override import Override
from services.quota.domain.policy import kind_of
from services.quota.transport.admin_messages import read_money
from services.quota.usecases.admin_tokens import AdminTokens
from services.quota.usecases.overrides import Grant, Overrides

_ROLES = {
    admin_service_pb2.ROLE_PLATFORM: Role.PLATFORM,
    admin_service_pb2.ROLE_TEAM_ADMIN: Role.TEAM_ADMIN,
    admin_service_pb2.ROLE_FINANCE: Role.FINANCE,
}
_ROLE_NUMBERS = {role: number for number, role in _ROLES.items()}


class AdminApi(admin_service_pb2_grpc.AdminServiceServicer):
    """Administers who may administer."""

    def __init__(self, *, tokens: AdminTokens, audit: AuditLog, clock: Clock) -> None:
        self._tokens = tokens
        self._audit = audit
        self._clock = clock

    def registration(self) -> Registration:
        """For a server."""
        return Registration(
            admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name,
            lambda server: admin_service_pb2_grpc.add_AdminServiceServicer_to_server(self, server),
        )

    def CreateAdminToken(
        self, request: admin_service_pb2.CreateAdminTokenRequest, context: grpc.ServicerContext
    ) -> admin_service_pb2.AdminTokenSecret:
        """Creates a token. Its secret is in this answer and nowhere else."""
        token = request.token
        role = _ROLES.get(token.role)
        if role is None:
            raise InvalidInput("token.role", f"say which: {', '.join(Role)}")
        if not token.HasField("expire_time"):
            raise InvalidInput("token.expire_time", "say when it ends, at most 366 days ahead")
        by = authorship_of(context, request.reason)
        minted = self._tokens.create(token.name, role, token.team, token.expire_time.ToMilliseconds(), by=by)
        return admin_service_pb2.AdminTokenSecret(token=self._write_token(minted.token), secret=minted.secret)

    def ListAdminTokens(
        self, request: admin_service_pb2.ListAdminTokensRequest, context: grpc.ServicerContext
    ) -> admin_service_pb2.ListAdminTokensResponse:
        """Lists the tokens by name. Never their secrets."""
        page, following = page_of(
            self._tokens.list(), lambda token: token.name, page_size=request.page_size, page_token=request.page_token
        )
        return admin_service_pb2.ListAdminTokensResponse(
            admin_tokens=[self._write_token(token) for token in page], next_page_token=following
        )

    def RevokeAdminToken(
        self, request: admin_service_pb2.RevokeAdminTokenRequest, context: grpc.ServicerContext
    ) -> admin_service_pb2.AdminToken:
        """Removes a token."""
        return self._write_token(self._tokens.revoke(request.name, by=authorship_of(context, request.reason)))

    def ListAuditEntries(
        self, request: audit_pb2.ListAuditEntriesRequest, context: grpc.ServicerContext
    ) -> audit_pb2.ListAuditEntriesResponse:
        """Lists what was changed, newest first."""
        return self._audit.page(request)

    def _write_token(self, token: AdminToken) -> admin_service_pb2.AdminToken:
        return admin_service_pb2.AdminToken(
            name=token.name,
            role=_ROLE_NUMBERS[token.role],
            team=token.team,
            expire_time=timestamp(token.expire_at_ms),
            create_time=timestamp(token.create_at_ms),
            hint=token.hint,
            expired=token.is_expired(self._clock.now_ms()),
        )


class OverrideApi(override_service_pb2_grpc.OverrideServiceServicer):
    """Administers temporary bounds."""

    def __init__(self, overrides: Overrides) -> None:
        self._overrides = overrides

    def registration(self) -> Registration:
        """For a server."""
        return Registration(
            override_service_pb2.DESCRIPTOR.services_by_name["OverrideService"].full_name,
            lambda server: override_service_pb2_grpc.add_OverrideServiceServicer_to_server(self, server),
        )

    def GrantOverride(
        self, request: override_service_pb2.GrantOverrideRequest, context: grpc.ServicerContext
    ) -> override_service_pb2.Override:
        """Puts another bound in the place of a limit's own until a moment."""
        asked = request.override
        if not asked.HasField("expire_time"):
            raise InvalidInput("override.expire_time", "say when it ends, at most 31 days ahead")
        grant = Grant(
            policy=asked.policy,
            limit=asked.limit,
            scope=asked.scope,
            amount_nano_usd=read_money("override.amount", asked.amount) if asked.HasField("amount") else None,
            count=asked.count,
            expire_at_ms=asked.expire_time.ToMilliseconds(),
        )
        return _write_override(self._overrides.grant(grant, by=authorship_of(context, asked.reason)))

    def ListOverrides(
        self, request: override_service_pb2.ListOverridesRequest, context: grpc.ServicerContext
    ) -> override_service_pb2.ListOverridesResponse:
        """Lists the overrides in force by name."""
        overrides = self._overrides.list(actor_of(context).team)
        page, following = page_of(
            overrides, lambda each: each.name, page_size=request.page_size, page_token=request.page_token
        )
        return override_service_pb2.ListOverridesResponse(
            overrides=[_write_override(each) for each in page], next_page_token=following
        )

    def RevokeOverride(
        self, request: override_service_pb2.RevokeOverrideRequest, context: grpc.ServicerContext
    ) -> override_service_pb2.Override:
        """Ends an override before its time."""
        return _write_override(self._overrides.revoke(request.name, by=authorship_of(context, request.reason)))


def _write_override(override: Override) -> override_service_pb2.Override:
    message = override_service_pb2.Override(
        name=override.name,
        policy=override.policy,
        limit=override.limit_id,
        scope=override.scope,
        expire_time=timestamp(override.expire_at_ms),
        reason=override.reason,
        create_time=timestamp(override.create_at_ms),
        actor=override.actor,
    )
    if kind_of(override.limit_id).is_money:
        message.amount.CopyFrom(usd(override.bound))
    else:
        message.count = override.bound
    return message
