"""The control API of a simulator that runs as a process. Its caller directs it from outside.

POST   /{provider}/faults     a list of faults, each with the fields of `faults.Fault`
DELETE /{provider}/faults     removes all faults
PUT    /{provider}/latency    the fields of `faults.Latency`
PUT    /{provider}/listener   {"open": false}: connections are refused
PUT    /{provider}/hang_up    {"stops": false}: streams run to their end, and are billed, after their clients leave
GET    /{provider}/requests   what reached the provider, without credentials
GET    /{provider}/bills      the charge for each request that it answered
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.kernel.envoy_contract import CREDENTIAL_HEADERS
from services.simulator.faults import Latency, fault_from
from services.simulator.provider import Bill, ReceivedRequest, SimulatedProvider
from services.simulator.server import Listener


@dataclass(frozen=True, slots=True)
class Stage:
    """A provider and its listener."""

    provider: SimulatedProvider
    listener: Listener


def control_app(stages: Mapping[str, Stage]) -> Starlette:
    """Builds the control API over these providers."""
    control = _Control(stages)
    return Starlette(
        routes=[
            Route("/{provider}/faults", control.add_faults, methods=["POST"]),
            Route("/{provider}/faults", control.clear_faults, methods=["DELETE"]),
            Route("/{provider}/latency", control.set_latency, methods=["PUT"]),
            Route("/{provider}/listener", control.switch_listener, methods=["PUT"]),
            Route("/{provider}/hang_up", control.set_hang_up, methods=["PUT"]),
            Route("/{provider}/requests", control.list_requests, methods=["GET"]),
            Route("/{provider}/bills", control.list_bills, methods=["GET"]),
        ]
    )


class _Control:
    def __init__(self, stages: Mapping[str, Stage]) -> None:
        self._stages = stages

    async def add_faults(self, request: Request) -> Response:
        script = self._stage(request).provider.faults
        try:
            script.add(*[fault_from(document) for document in await request.json()])
        except ValueError as error:
            raise HTTPException(400, str(error)) from error
        return Response(status_code=204)

    async def clear_faults(self, request: Request) -> Response:
        self._stage(request).provider.faults.clear()
        return Response(status_code=204)

    async def set_latency(self, request: Request) -> Response:
        try:
            self._stage(request).provider.latency = Latency(**await request.json())
        except (TypeError, ValueError) as error:
            raise HTTPException(400, str(error)) from error
        return Response(status_code=204)

    async def switch_listener(self, request: Request) -> Response:
        listener = self._stage(request).listener
        document = await request.json()
        if document.get("open"):
            listener.open()
        else:
            listener.close()
        return Response(status_code=204)

    async def set_hang_up(self, request: Request) -> Response:
        stops = (await request.json()).get("stops")
        if not isinstance(stops, bool):
            raise HTTPException(400, "stops is true or false")
        self._stage(request).provider.stops = stops
        return Response(status_code=204)

    async def list_bills(self, request: Request) -> Response:
        bills = self._stage(request).provider.bills
        return JSONResponse({"bills": [_billed(each) for each in bills]})

    async def list_requests(self, request: Request) -> Response:
        received = self._stage(request).provider.requests
        return JSONResponse({"requests": [_shown(each) for each in received]})

    def _stage(self, request: Request) -> Stage:
        name = request.path_params["provider"]
        if name not in self._stages:
            raise HTTPException(404, f"no provider {name!r}: there are {', '.join(sorted(self._stages))}")
        return self._stages[name]


def _billed(bill: Bill) -> dict[str, Any]:
    usage = bill.usage
    return {
        "number": bill.number,
        "model": bill.model,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "meters": dict(usage.meters),
    }


def _shown(received: ReceivedRequest) -> dict[str, Any]:
    headers = {name: value for name, value in received.headers.items() if name not in CREDENTIAL_HEADERS}
    return {
        "number": received.number,
        "path": received.path,
        "attempt": received.attempt,
        "headers": headers,
        "body": received.body.decode(errors="replace"),
    }
