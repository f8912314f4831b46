"""Writes who leads each model as messages of the admin API."""

from __future__ import annotations

from collections.abc import Iterable

from spendgate.router.v1 import route_plan_service_pb2 as plan_pb
from spendgate.router.v1 import router_service_pb2 as pb

from services.chassis.enums import enum_table
from services.chassis.well_known import duration, timestamp
from services.router.domain.health import Figure
from services.router.domain.plan import ModelPlan, Tier
from services.router.domain.switch import Direction, Switch
from services.router.transport.admin_messages import write_chain, write_term
from services.router.transport.route_plan_service import LEAD_REASONS
from services.router.usecases.report_routes import ReportedTarget, Routes

_DIRECTIONS = enum_table(pb.RouteSwitch.Direction, Direction)


def write_route_status(routes: Routes) -> pb.RouteStatus:
    """Writes the state of all routes."""
    return pb.RouteStatus(
        models=[_model(plan) for plan in routes.models],
        targets=[_target(target) for target in routes.targets],
        switches=[_switch(switch) for switch in routes.switches],
    )


def _model(plan: ModelPlan) -> pb.RouteStatus.Model:
    return pb.RouteStatus.Model(model=plan.model, tiers=[_tier(tier) for tier in plan.tiers])


def _tier(tier: Tier) -> pb.RouteStatus.Tier:
    # The last slot that was left is the one whose place the leading slot took.
    left = tier.probes[-1].left if tier.probes else None
    return pb.RouteStatus.Tier(
        from_basis_points=tier.from_basis_points,
        chain=write_chain(tier.chain),
        reason=LEAD_REASONS.numbers[tier.reason] if tier.reason else plan_pb.LEAD_REASON_UNSPECIFIED,
        lead_time=timestamp(left.since_ms) if left else None,
        figures=_figures(left.figures) if left else [],
        probed_slots=write_chain(probe.slot for probe in tier.probes),
    )


def _target(target: ReportedTarget) -> pb.RouteStatus.Target:
    figures = target.figures
    return pb.RouteStatus.Target(
        target=target.name,
        attempts=figures.attempts,
        failed_attempts=figures.failures,
        latency_p95=None if figures.latency_p95_ms is None else duration(figures.latency_p95_ms),
        ttft_p95=None if figures.ttft_p95_ms is None else duration(figures.ttft_p95_ms),
        out_until_time=None if target.out_until_ms is None else timestamp(target.out_until_ms),
        drain_time=timestamp(target.drained.since_ms) if target.drained else None,
    )


def _switch(switch: Switch) -> pb.RouteSwitch:
    (came_from, goes_to) = write_chain([switch.came_from, switch.goes_to])
    return pb.RouteSwitch(
        model=switch.model,
        from_basis_points=switch.from_basis_points,
        previous_slot=came_from,
        slot=goes_to,
        reason=LEAD_REASONS.numbers[switch.reason],
        figures=_figures(switch.figures),
        switch_time=timestamp(switch.time_ms),
        direction=_DIRECTIONS.numbers[switch.direction],
    )


def _figures(figures: Iterable[Figure]) -> list[pb.TermFigure]:
    return [
        pb.TermFigure(term=write_term(figure.term), attempts=figure.attempts, bad_attempts=figure.bad)
        for figure in figures
    ]
