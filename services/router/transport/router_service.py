"""The admin API of the router."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from functools import partial
from typing import Any

import grpc.aio
from spendgate.router.v1 import router_service_pb2 as pb
from spendgate.router.v1 import router_service_pb2_grpc

from services.chassis.audit import AuditLog
from services.chassis.authorship import mutation_by
from services.chassis.changes import write_changes
from services.chassis.grpc_server import Registration
from services.chassis.named import find_named, page_of_named
from services.chassis.well_known import timestamp
from services.router.domain.provider import Provider
from services.router.transport.admin_messages import (
    read_listener,
    read_model,
    read_provider,
    write_model,
    write_provider,
)
from services.router.transport.route_status_messages import write_route_status
from services.router.transport.trial_messages import write_trial
from services.router.usecases.administer import Administrator
from services.router.usecases.drain import DrainTargets
from services.router.usecases.publish import Node, Publisher
from services.router.usecases.report_routes import ReportRoutes
from services.router.usecases.try_provider import TryProvider, model_to_try

SERVICE = "spendgate.router.v1.RouterService"

_LOOK_UP_TIMEOUT_S = 2.0

Context = grpc.aio.ServicerContext[Any, Any]


class RouterService(router_service_pb2_grpc.RouterServiceServicer):
    """Administers where calls may go. Envoy's admin listener decides who may use it."""

    def __init__(
        self,
        administrator: Administrator,
        publisher: Publisher,
        routes: ReportRoutes,
        drain: DrainTargets,
        try_provider: TryProvider,
        audit: AuditLog,
    ) -> None:
        self._administrator = administrator
        self._drain = drain
        self._try_provider = try_provider
        self._routes = routes
        self._publisher = publisher
        self._audit = audit

    @property
    def registration(self) -> Registration:
        """Adds the service to a server."""
        return Registration(SERVICE, partial(router_service_pb2_grpc.add_RouterServiceServicer_to_server, self))

    async def ApplyConfiguration(
        self, request: pb.ApplyConfigurationRequest, context: Context
    ) -> pb.ApplyConfigurationResponse:
        """Puts the configuration of the request in force."""
        providers = [read_provider(f"providers[{at}]", one) for at, one in enumerate(request.providers)]
        await self._look_up(providers)
        applied = self._administrator.apply(
            providers,
            [read_model(f"models[{at}]", one) for at, one in enumerate(request.models)],
            [read_listener(one) for one in request.listeners],
            validate_only=request.validate_only,
            by=mutation_by(context, request, request.reason),
        )
        return pb.ApplyConfigurationResponse(changes=write_changes(applied.changes), warnings=applied.warnings)

    async def _look_up(self, providers: Iterable[Provider]) -> None:
        """Looks where the names of these providers lead. If nobody says so in time, the watch will find out."""
        with contextlib.suppress(TimeoutError):
            looking = asyncio.to_thread(self._administrator.look_up, providers)
            self._administrator.take_names(await asyncio.wait_for(looking, _LOOK_UP_TIMEOUT_S))

    async def TestProvider(self, request: pb.TestProviderRequest, context: Context) -> pb.TestProviderResponse:
        """Makes one real call to a provider."""
        configuration = self._administrator.configuration
        provider = find_named("provider", request.name, configuration.providers)
        model = model_to_try(configuration, provider, request.model)
        return write_trial(await asyncio.to_thread(self._try_provider, provider, model))

    async def GetProvider(self, request: pb.GetProviderRequest, context: Context) -> pb.GetProviderResponse:
        """Returns one provider."""
        provider = find_named("provider", request.name, self._administrator.configuration.providers)
        return pb.GetProviderResponse(provider=self._write_provider(provider))

    async def ListProviders(self, request: pb.ListProvidersRequest, context: Context) -> pb.ListProvidersResponse:
        """Lists the providers by name."""
        chosen, token = page_of_named(self._administrator.configuration.providers, request)
        return pb.ListProvidersResponse(providers=[self._write_provider(one) for one in chosen], next_page_token=token)

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        """Returns one model."""
        model = find_named("model", request.name, self._administrator.configuration.models)
        return pb.GetModelResponse(model=write_model(model))

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """Lists the models by name."""
        chosen, token = page_of_named(self._administrator.configuration.models, request)
        return pb.ListModelsResponse(models=[write_model(one) for one in chosen], next_page_token=token)

    async def ListAuditEntries(
        self, request: pb.ListAuditEntriesRequest, context: Context
    ) -> pb.ListAuditEntriesResponse:
        """Lists configuration changes, newest first."""
        page = self._audit.page(request)
        return pb.ListAuditEntriesResponse(audit_entries=page.audit_entries, next_page_token=page.next_page_token)

    async def GetRouteStatus(self, request: pb.GetRouteStatusRequest, context: Context) -> pb.GetRouteStatusResponse:
        """Returns who leads each model."""
        return pb.GetRouteStatusResponse(status=write_route_status(self._routes.now()))

    async def DrainTarget(self, request: pb.DrainTargetRequest, context: Context) -> pb.DrainTargetResponse:
        """Takes a target out of every chain."""
        by = mutation_by(context, request, request.reason)
        done = self._drain.drain(request.target, force=request.force, by=by)
        return pb.DrainTargetResponse(models_without_target=done.models_without_target)

    async def UndrainTarget(self, request: pb.UndrainTargetRequest, context: Context) -> pb.UndrainTargetResponse:
        """Lets a drained target in again."""
        self._drain.undrain(request.target, by=mutation_by(context, request, request.reason))
        return pb.UndrainTargetResponse()

    async def GetRouterStatus(self, request: pb.GetRouterStatusRequest, context: Context) -> pb.GetRouterStatusResponse:
        """Returns this process's view of its state."""
        version, plan = self._publisher.version, self._publisher.plan
        status = pb.RouterStatus(
            version=version.snapshot.version if version is not None else "",
            plan_version=plan.version if plan is not None else "",
            plan_version_taken=self._publisher.plan_version_taken,
            nodes=[_node(node) for node in self._publisher.nodes],
        )
        return pb.GetRouterStatusResponse(status=status)

    def _write_provider(self, provider: Provider) -> pb.Provider:
        return write_provider(
            provider,
            self._administrator.credential_problem(provider),
            self._routes.credential_refusal(provider.name),
        )


def _node(node: Node) -> pb.RouterStatus.Node:
    return pb.RouterStatus.Node(
        epoch=node.epoch,
        version_sent=node.sent.snapshot.version if node.sent is not None else "",
        version_acknowledged=node.acknowledged.snapshot.version if node.acknowledged is not None else "",
        refusal=node.refusal,
        connect_time=timestamp(node.connect_time_ms),
    )
