"""Who may do what on the admin plane: one table for the RPCs of all services behind it.

Only the platform role may call an RPC that the table does not list. The table lets a team admin through where the API
can keep to one team; the use case then enforces that with `services.kernel.change.Actor.may_touch`.
"""

from __future__ import annotations

from enum import Enum

from services.kernel.change import Actor, Role
from services.kernel.errors import PermissionDenied


class Access(Enum):
    """Which roles may call an RPC."""

    PLATFORM = frozenset({Role.PLATFORM})
    """Changes the whole organization."""
    READ = frozenset({Role.PLATFORM, Role.FINANCE})
    """Shows the whole organization."""
    TEAM_READ = frozenset({Role.PLATFORM, Role.FINANCE, Role.TEAM_ADMIN})
    """Shows a team admin only its own team."""
    TEAM_WRITE = frozenset({Role.PLATFORM, Role.TEAM_ADMIN})
    """Lets a team admin change only its own team."""
    ANYBODY = frozenset(Role)
    """Shows nobody's data."""


_QUOTA = "/spendgate.quota.v1.QuotaService"
_ADMIN = "/spendgate.quota.v1.AdminService"
_OVERRIDE = "/spendgate.quota.v1.OverrideService"
_DOUBT = "/spendgate.quota.v1.DoubtService"
_SIMULATION = "/spendgate.quota.v1.SimulationService"
_ROUTER = "/spendgate.router.v1.RouterService"
_LEDGER = "/spendgate.ledger.v1.LedgerService"
ACCESS = {
    f"{_QUOTA}/ApplyConfiguration": Access.PLATFORM,
    f"{_QUOTA}/GetTeam": Access.TEAM_READ,
    f"{_QUOTA}/ListTeams": Access.TEAM_READ,
    f"{_QUOTA}/GetQuotaPolicy": Access.TEAM_READ,
    f"{_QUOTA}/ListQuotaPolicies": Access.TEAM_READ,
    f"{_QUOTA}/CreateVirtualKey": Access.TEAM_WRITE,
    f"{_QUOTA}/GetVirtualKey": Access.TEAM_READ,
    f"{_QUOTA}/ListVirtualKeys": Access.TEAM_READ,
    f"{_QUOTA}/RotateVirtualKey": Access.TEAM_WRITE,
    f"{_QUOTA}/DisableVirtualKey": Access.TEAM_WRITE,
    f"{_QUOTA}/EnableVirtualKey": Access.TEAM_WRITE,
    f"{_QUOTA}/ListBudgets": Access.TEAM_READ,
    f"{_QUOTA}/ListAdjustments": Access.READ,
    f"{_QUOTA}/Explain": Access.TEAM_READ,
    f"{_QUOTA}/GetEffectiveLimits": Access.TEAM_READ,
    f"{_QUOTA}/GetQuotaStatus": Access.READ,
    f"{_ADMIN}/CreateAdminToken": Access.PLATFORM,
    f"{_ADMIN}/GetAdminToken": Access.READ,
    f"{_ADMIN}/ListAdminTokens": Access.READ,
    f"{_ADMIN}/RevokeAdminToken": Access.PLATFORM,
    f"{_ADMIN}/ListAuditEntries": Access.READ,
    f"{_OVERRIDE}/GrantOverride": Access.TEAM_WRITE,
    f"{_OVERRIDE}/GetOverride": Access.TEAM_READ,
    f"{_OVERRIDE}/ListOverrides": Access.TEAM_READ,
    f"{_OVERRIDE}/RevokeOverride": Access.TEAM_WRITE,
    f"{_DOUBT}/GetDoubt": Access.TEAM_READ,
    f"{_DOUBT}/ListDoubts": Access.TEAM_READ,
    f"{_DOUBT}/ClearDoubts": Access.PLATFORM,
    # The caller fetches the calls from the ledger, so they are calls that it may see.
    f"{_SIMULATION}/SimulatePolicies": Access.TEAM_READ,
    f"{_ROUTER}/ApplyConfiguration": Access.PLATFORM,
    f"{_ROUTER}/GetProvider": Access.READ,
    f"{_ROUTER}/ListProviders": Access.READ,
    f"{_ROUTER}/TestProvider": Access.PLATFORM,
    f"{_ROUTER}/GetModel": Access.READ,
    f"{_ROUTER}/ListModels": Access.READ,
    f"{_ROUTER}/GetRouteStatus": Access.READ,
    f"{_ROUTER}/DrainTarget": Access.PLATFORM,
    f"{_ROUTER}/UndrainTarget": Access.PLATFORM,
    f"{_ROUTER}/GetRouterStatus": Access.READ,
    f"{_ROUTER}/ListAuditEntries": Access.READ,
    f"{_LEDGER}/ApplyConfiguration": Access.PLATFORM,
    f"{_LEDGER}/QueryUsage": Access.TEAM_READ,
    f"{_LEDGER}/ListCalls": Access.TEAM_READ,
    f"{_LEDGER}/GetCall": Access.TEAM_READ,
    f"{_LEDGER}/TailCalls": Access.TEAM_READ,
    f"{_LEDGER}/ListAlerts": Access.READ,
    f"{_LEDGER}/ListAlertChannels": Access.READ,
    f"{_LEDGER}/TestAlertChannel": Access.PLATFORM,
    f"{_LEDGER}/ListDeliveries": Access.READ,
    f"{_LEDGER}/RetryDelivery": Access.PLATFORM,
    f"{_LEDGER}/GetLedgerStatus": Access.READ,
    f"{_LEDGER}/ListAuditEntries": Access.READ,
    "/grpc.health.v1.Health/Check": Access.ANYBODY,
    "/grpc.health.v1.Health/Watch": Access.ANYBODY,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": Access.ANYBODY,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Access.ANYBODY,
}


def check_access(actor: Actor, method: str) -> None:
    """Checks that the actor may call `method`, e.g. "/spendgate.quota.v1.QuotaService/ListTeams".

    Raises:
        PermissionDenied: the actor's role may not call it; the text names the roles that may.
    """
    access = ACCESS.get(method, Access.PLATFORM)
    if actor.role not in access.value:
        what = method.rpartition("/")[2] if method in ACCESS else "this"
        may = " or ".join(role for role in Role if role in access.value)
        raise PermissionDenied(f"admin token {actor.name} has role {actor.role}: {what} is for {may}")


def check_team(actor: Actor, team: str, what: str) -> None:
    """Checks that the actor may touch something of `team`; `what` begins the error text, e.g. "virtual key ci".

    Raises:
        PermissionDenied: the actor is confined to another team.
    """
    if not actor.may_touch(team):
        whose = f"team {team}" if team else "no team"
        asks = f"admin token {actor.name} is for team {actor.team}"
        raise PermissionDenied(f"{what} belongs to {whose}, and {asks}: the {Role.PLATFORM} role may")
