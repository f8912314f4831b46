"""`spendgate.quota.v1.SimulationService`: hands each stream of past calls to a process that replays it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from spendgate.quota.v1 import quota_service_pb2 as quota_pb
from spendgate.quota.v1 import simulation_service_pb2 as pb

from services.chassis.grpc_server import Registration, Servicer
from services.kernel.errors import FailedPrecondition, InvalidInput, Unavailable
from services.quota.transport import simulation_worker
from services.quota.transport.policy_messages import read_policy
from services.quota.transport.simulation_messages import Outcome
from services.quota.usecases.simulate import Propose

SERVICE = "spendgate.quota.v1.SimulationService"
SIMULATIONS_MAX = 2
"""The most simulations at once. Each uses a thread of the server and a process that takes CPU time from Checks."""


class SimulationService(Servicer):
    """Replays past calls. The stream is the session, so nothing has to expire, and any replica can serve it.

    It passes calls on unread: to parse a batch of them would hold up all Checks for milliseconds.
    """

    def __init__(self, propose: Propose) -> None:
        self._propose = propose
        self._running = threading.BoundedSemaphore(SIMULATIONS_MAX)

    @property
    def registration(self) -> Registration:
        """Registers a handler without serialisers, because it takes and returns bytes."""
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "SimulatePolicies": grpc.stream_unary_rpc_method_handler(self.simulate)
        }
        handler = grpc.method_handlers_generic_handler(SERVICE, methods)

        def register(server: Any) -> None:
            server.add_generic_rpc_handlers((handler,))

        return Registration(SERVICE, register)

    def simulate(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """Replays calls through the policies of the first message. Takes requests, and returns the response."""
        if not self._running.acquire(blocking=False):
            raise FailedPrecondition(f"{SIMULATIONS_MAX} simulations are running: wait until one ends")
        try:
            return self._simulate(messages)
        except grpc.RpcError as error:
            raise Unavailable("the client broke off the stream") from error
        finally:
            self._running.release()

    def _simulate(self, messages: Iterator[bytes]) -> bytes:
        policies = _read_policies(next(messages, b""))
        proposal = self._propose([read_policy(f"policies[{at}]", policy) for at, policy in enumerate(policies)])
        with _worker() as worker:
            # A worker that refuses stops listening, but we can still read its answer.
            with contextlib.suppress(ConnectionError):
                worker.send(proposal)
                for message in messages:
                    if not message:
                        raise InvalidInput("calls", simulation_worker.ONLY_CALLS)
                    worker.send_bytes(message)
                worker.send_bytes(b"")
            outcome = _read_outcome(worker)
        if outcome.problem:
            raise InvalidInput(outcome.field, outcome.problem) if outcome.field else FailedPrecondition(outcome.problem)
        return outcome.report


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


def _read_policies(message: bytes) -> Sequence[quota_pb.QuotaPolicy]:
    try:
        first = pb.SimulatePoliciesRequest.FromString(message)
    except DecodeError as error:
        raise InvalidInput("proposal", f"the first message cannot be read: {error}") from error
    if not first.HasField("proposal"):
        raise InvalidInput("proposal", "the first message has the policies")
    return first.proposal.policies


def _read_outcome(worker: Connection) -> Outcome:
    try:
        outcome: Outcome = worker.recv()
    except (EOFError, ConnectionError) as error:
        raise Unavailable("the replay ended early: quota's log may say why") from error
    return outcome
