"""`spendgate.quota.v1.SimulationService`: hands each stream of past calls to a process that replays it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import grpc
from spendgate.quota.v1 import simulation_service_pb2 as pb
from spendgate.quota.v1 import simulation_service_pb2_grpc

from services.chassis.grpc_server import Registration
from services.kernel.errors import FailedPrecondition, InvalidInput, Unavailable
from services.quota.transport import simulation_worker
from services.quota.transport.policy_messages import read_policy
from services.quota.transport.simulation_messages import Outcome
from services.quota.usecases.simulate import Propose

SERVICE = "spendgate.quota.v1.SimulationService"
SIMULATIONS_MAX = 2
"""The most simulations at once. Each uses a thread of the server and a process that takes CPU time from Checks."""
_MAX_BATCH = 1_000


class SimulationService(simulation_service_pb2_grpc.SimulationServiceServicer):
    """Replays past calls. The stream is the session, so nothing has to expire, and any replica can serve it."""

    def __init__(self, propose: Propose) -> None:
        self._propose = propose
        self._running = threading.BoundedSemaphore(SIMULATIONS_MAX)

    @property
    def registration(self) -> Registration:
        """Puts the service into a server."""
        return Registration(SERVICE, partial(simulation_service_pb2_grpc.add_SimulationServiceServicer_to_server, self))

    def SimulatePolicies(
        self, request_iterator: Iterator[pb.SimulatePoliciesRequest], context: grpc.ServicerContext
    ) -> pb.SimulatePoliciesResponse:
        """Replays calls through the policies of the first message."""
        if not self._running.acquire(blocking=False):
            raise FailedPrecondition(f"{SIMULATIONS_MAX} simulations are running: wait until one ends")
        try:
            return self._simulate(request_iterator)
        except grpc.RpcError as error:
            raise Unavailable("the client broke off the stream") from error
        finally:
            self._running.release()

    def _simulate(self, requests: Iterator[pb.SimulatePoliciesRequest]) -> pb.SimulatePoliciesResponse:
        first = next(requests, None)
        if first is None or not first.HasField("proposal"):
            raise InvalidInput("proposal", "the first message has the policies")
        policies = first.proposal.policies
        proposal = self._propose([read_policy(f"policies[{at}]", policy) for at, policy in enumerate(policies)])
        with _worker() as worker:
            # A worker that refuses stops listening, but we can still read its answer.
            with contextlib.suppress(ConnectionError):
                worker.send(proposal)
                for request in requests:
                    if batch := _read_batch(request):
                        worker.send_bytes(batch)
                worker.send_bytes(b"")
            outcome = _read_outcome(worker)
        if outcome.problem:
            raise InvalidInput(outcome.field, outcome.problem) if outcome.field else FailedPrecondition(outcome.problem)
        return pb.SimulatePoliciesResponse.FromString(outcome.report)


@contextlib.contextmanager
def _worker() -> Iterator[Connection]:
    """A process that runs one replay, for as long as we need it."""
    ours, theirs = Pipe()
    with ours:
        with theirs:
            command = [sys.executable, "-m", simulation_worker.__name__, str(theirs.fileno())]
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        try:
            yield ours
        finally:
            process.kill()
            process.wait()


def _read_batch(request: pb.SimulatePoliciesRequest) -> bytes:
    if not request.HasField("calls"):
        raise InvalidInput("calls", "all messages but the first have calls")
    if len(request.calls.calls) > _MAX_BATCH:
        raise InvalidInput("calls.calls", f"at most {_MAX_BATCH} at a time")
    return request.calls.SerializeToString()


def _read_outcome(worker: Connection) -> Outcome:
    try:
        outcome: Outcome = worker.recv()
    except (EOFError, ConnectionError) as error:
        raise Unavailable("the replay ended early: quota's log may say why") from error
    return outcome
