"""Sends a configuration to the gateway: prices, then providers and models, then teams, policies and keys.

In this order a policy on spend never meets a target whose price is still on its way. All three services validate
everything before any of them changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from spendgate.type.v1.configuration_pb2 import Change

from services.cli import translate
from services.cli.configuration import Configuration
from services.cli.configuration.places import placed
from services.cli.configuration.unpriced import find_unpriced_leads
from services.cli.gateway import Gateway, explain_rpc_error
from services.cli.key_secrets import KeySecrets, find_key_secrets
from services.cli.problems import Refused
from services.cli.resource_kinds import resource_kind_name

ACTIONS: Mapping[int, str] = {
    Change.ACTION_CREATE: "create",
    Change.ACTION_UPDATE: "update",
    Change.ACTION_DELETE: "delete",
}


class ApplyAnswer(Protocol):
    """What every service's `ApplyConfigurationResponse` has."""

    @property
    def changes(self) -> Iterable[Change]:
        """The changes that were made, or would be."""
        ...

    @property
    def warnings(self) -> Iterable[str]:
        """Accepted settings that will not work as they stand."""
        ...


@dataclass(frozen=True, slots=True)
class Applied:
    """The changes that were made, or would be."""

    changes: tuple[Change, ...]
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """The document of `spendgate apply --json`."""
        return {
            "changes": [
                {
                    "action": ACTIONS.get(change.action, "unknown"),
                    "kind": resource_kind_name(change.kind),
                    "name": change.name,
                    "detail": change.detail,
                }
                for change in self.changes
            ],
            "warnings": list(self.warnings),
        }


def apply_configuration(
    gateway: Gateway,
    configuration: Configuration,
    environ: Mapping[str, str],
    *,
    dry_run: bool = False,
    reason: str = "",
) -> Applied:
    """Applies the file to the gateway. Secrets of keys are looked up in `environ`.

    `reason` goes into the audit logs.

    Raises:
        Refused: a service does not accept its part. Nothing is changed.
    """
    secrets = find_key_secrets(configuration, environ)
    would_be = _send(gateway, configuration, secrets, reason, validate_only=True)
    answers = would_be if dry_run else _send(gateway, configuration, secrets, reason, validate_only=False)
    leads = (str(configuration.source.problem(*found)) for found in find_unpriced_leads(configuration.file))
    warnings = (*leads, *(warning for answer in answers for warning in answer.warnings))
    changes = tuple(change for answer in answers for change in answer.changes)
    return Applied(changes, tuple(dict.fromkeys(warnings)))


def _send(
    gateway: Gateway, configuration: Configuration, secrets: KeySecrets, reason: str, *, validate_only: bool
) -> list[ApplyAnswer]:
    file = configuration.file
    steps: list[tuple[Callable[[Any], ApplyAnswer], Any]] = [
        (gateway.ledger.ApplyConfiguration, translate.ledger_request(file, validate_only=validate_only)),
        (gateway.router.ApplyConfiguration, translate.router_request(file, validate_only=validate_only)),
        (gateway.quota.ApplyConfiguration, translate.quota_request(file, secrets, validate_only=validate_only)),
    ]
    answers = []
    for send, request in steps:
        request.reason = reason
        try:
            answers.append(send(request))
        except grpc.RpcError as error:
            reason = explain_rpc_error(error, gateway.address.admin)
            if isinstance(error, grpc.Call) and error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                reason = "\n".join(placed(file, configuration.source, line) for line in reason.splitlines())
            raise Refused(reason) from error
    return answers
