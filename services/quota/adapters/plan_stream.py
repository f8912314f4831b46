"""Receives the route plan from the router. It stores the last one, so that calls go on while the router is away."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Collection, Iterator

import grpc
from google.protobuf.message import DecodeError
from spendgate.router.v1 import chain_pb2, route_plan_service_pb2_grpc
from spendgate.router.v1 import route_plan_service_pb2 as pb
from spendgate.type.v1 import dialect_pb2

from services.chassis.enums import enum_table
from services.chassis.loops import Stream, StreamLoop
from services.kernel.dialect import Dialect, OutputCapField, ThinkingForm
from services.kernel.endpoint import Operation
from services.kernel.envoy_contract import LeadReason
from services.quota.domain.routing.plan import (
    ChainSlot,
    Face,
    ModelPlan,
    PlannedTarget,
    PlanSnapshot,
    Probe,
    Tier,
    Translation,
    WeightedTarget,
)
from services.quota.ports.directory import SnapshotStore

_SNAPSHOT = "route_plan"
_DIALECTS = enum_table(dialect_pb2.Dialect, Dialect)
_LEAD_REASONS = enum_table(pb.LeadReason, LeadReason)
_CAP_FIELDS = enum_table(pb.PlannedTarget.OutputCapField, OutputCapField)
_OPERATIONS = enum_table(pb.Operation, Operation, unspecified=Operation.CHAT)
_THINKING_FORMS = enum_table(pb.PlannedTarget.ThinkingForm, ThinkingForm)

_log = logging.getLogger("spendgate.quota")


class PlanStream:
    """Passes each plan on, and acknowledges it once it is stored and in force.

    `prepare` gets the targets of a plan before the plan comes into force, so that their prices arrive first.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        store: SnapshotStore,
        *,
        prepare: Callable[[Collection[PlannedTarget]], object],
        swap_in: Callable[[PlanSnapshot], None],
    ) -> None:
        self._stub = route_plan_service_pb2_grpc.RoutePlanServiceStub(channel)
        self._store = store
        self._prepare = prepare
        self._swap_in = swap_in
        self._taken: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._loop = StreamLoop("route plan", self._open, self._take)

    def load(self) -> PlanSnapshot | None:
        """The plan that was in force before the last stop; None if there was none."""
        body = self._store.load(_SNAPSHOT)
        if body is None:
            return None
        try:
            return read_plan(pb.RoutePlan.FromString(body))
        except (DecodeError, ValueError):
            _log.exception("the stored route plan cannot be read; waiting for the router to send another")
            return None

    @property
    def name(self) -> str:
        """The name in the log."""
        return self._loop.name

    def start(self) -> None:
        """Starts listening in the background."""
        self._loop.start()

    def stop(self) -> None:
        """Stops listening. The plan in force stays."""
        self._taken.put(None)
        self._loop.stop()

    def _open(self) -> Stream:
        # Each stream has its own queue, so the next stream does not acknowledge plans of a broken one.
        self._taken.put(None)
        self._taken = queue.SimpleQueue()
        return self._stub.WatchRoutePlan(_acknowledgements(self._taken))

    def _take(self, message: pb.WatchRoutePlanResponse) -> None:
        plan = read_plan(message.plan)
        self._prepare(plan.targets.values())
        self._store.save(_SNAPSHOT, plan.version, message.plan.SerializeToString())
        self._swap_in(plan)
        self._taken.put(plan.version)


def read_plan(message: pb.RoutePlan) -> PlanSnapshot:
    """Reads a plan into a value.

    Raises:
        ValueError: the plan is of a later release that knows more dialects, or of an earlier one.
    """
    return PlanSnapshot(
        version=message.version,
        aliases={alias: model.model for model in message.models for alias in model.aliases},
        models={model.model: _read_model(model) for model in message.models},
        targets={target.name: _read_target(target) for target in message.targets},
    )


def _read_model(message: pb.ModelPlan) -> ModelPlan:
    tiers = tuple(map(_read_tier, message.tiers))
    timeout_ms = message.first_byte_timeout.ToMilliseconds()
    if timeout_ms <= 0:
        raise ValueError(f"model {message.model} has no time-out")
    of_teams = {one.team: tuple(map(_read_tier, one.tiers)) for one in message.team_tiers}
    return ModelPlan(message.model, tiers, timeout_ms, tuple(message.providers_without_credential), of_teams)


def _read_tier(message: pb.Tier) -> Tier:
    return Tier(
        message.from_basis_points,
        tuple(map(_read_slot, message.chain)),
        # A reason of a later release changes nothing about where calls go.
        _LEAD_REASONS.members.get(message.reason),
        tuple(Probe(_read_slot(probe.slot), probe.interval.ToMilliseconds()) for probe in message.probes),
    )


def _read_slot(message: chain_pb2.ChainSlot) -> ChainSlot:
    return ChainSlot(tuple(WeightedTarget(each.target, max(1, each.weight)) for each in message.targets))


def _read_target(message: pb.PlannedTarget) -> PlannedTarget:
    # Nobody can ask this release for an operation of a later one.
    faces = tuple(_read_face(face) for face in message.faces if face.operation in _OPERATIONS.members)
    return PlannedTarget(
        name=message.name,
        upstream_model=message.upstream_model,
        max_output_tokens=message.max_output_tokens,
        context_window_tokens=message.context_window_tokens,
        faces=faces,
        catalogue_provider=message.catalogue_provider,
        stops_on_disconnect=message.stops_on_disconnect,
        lacks=frozenset(message.lacks),
        is_output_known=message.output_known,
    )


def _read_face(message: pb.PlannedTarget.Face) -> Face:
    dialect = _DIALECTS.members.get(message.dialect)
    if dialect is None:
        raise ValueError(f"dialect {message.dialect} of cluster {message.cluster} is unknown")
    # Without a field that we know, no bound is written.
    cap_field = _CAP_FIELDS.members.get(message.output_cap_field, "")
    return Face(
        dialect=dialect,
        cluster=message.cluster,
        host=message.host,
        path=message.path,
        output_cap_field=cap_field,
        usage_unasked=message.usage_unasked,
        lacks=frozenset(message.lacks),
        operation=_OPERATIONS.members[message.operation],
        translation=_read_translation(message.translation) if message.HasField("translation") else None,
    )


def _read_translation(message: pb.PlannedTarget.Translation) -> Translation:
    return Translation(
        # A form of a later release is none that our scripts know.
        thinking=_THINKING_FORMS.members.get(message.thinking),
        structured_by_tool=message.structured_by_tool,
        takes_sampling=not message.no_sampling,
    )


def _acknowledgements(taken: queue.SimpleQueue[str | None]) -> Iterator[pb.WatchRoutePlanRequest]:
    yield pb.WatchRoutePlanRequest()
    while (version := taken.get()) is not None:
        yield pb.WatchRoutePlanRequest(version_taken=version)
