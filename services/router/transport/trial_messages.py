"""Writes what a trial of a provider showed as a message of the admin API."""

from __future__ import annotations

from spendgate.router.v1 import router_service_pb2 as pb

from services.chassis.enums import enum_table
from services.chassis.well_known import duration
from services.router.domain.trial import Step, Trial
from services.router.transport.admin_messages import DIALECTS

_STEPS = enum_table(pb.TestProviderResponse.Step, Step)


def write_trial(trial: Trial) -> pb.TestProviderResponse:
    """Writes a trial. It holds no credential."""
    seen = trial.seen
    return pb.TestProviderResponse(
        target=trial.target,
        dialect=DIALECTS.numbers[trial.dialect],
        url=trial.url,
        credential=str(trial.credential),
        step=_STEPS.numbers[seen.step],
        address=seen.address,
        connect_latency=duration(seen.connect_ms),
        tls_latency=duration(seen.tls_ms) if seen.tls_version else None,
        tls_version=seen.tls_version,
        status=seen.status,
        answer_latency=duration(seen.answer_ms),
        served_model=trial.served_model,
        input_tokens=trial.input_tokens,
        output_tokens=trial.output_tokens,
        problem=trial.problem,
    )
