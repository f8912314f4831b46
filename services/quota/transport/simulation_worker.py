"""The process in which one replay runs: `python -m services.quota.transport.simulation_worker FD`.

A replay only computes. In quota's own process it would compete with Checks for the one interpreter, and each Check
would wait. Here it has an interpreter of its own, at a lower priority, and its memory is freed with the process.

FD is a socket to quota. It delivers a `Proposal`, then serialised `SimulatePoliciesRequest` messages, and finally zero
bytes; it takes an `Outcome`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection

from google.protobuf.message import DecodeError
from spendgate.quota.v1 import simulation_service_pb2 as pb

from services.kernel.errors import FailedPrecondition, InvalidInput
from services.quota.domain.replay.replay import Replay
from services.quota.transport.simulation_messages import Outcome, read_past_call, write_report
from services.quota.usecases.simulate import Proposal

_NICENESS = 10
_MAX_BATCH = 1_000
ONLY_CALLS = "all messages but the first have calls"


def replay_from(quota: Connection) -> Outcome:
    """Replays the calls that arrive.

    Raises:
        EOFError: quota has gone.
    """
    proposal: Proposal = quota.recv()
    replay = Replay(proposal.policies, proposal.routes)
    try:
        while message := quota.recv_bytes():
            for at, call in enumerate(_read_batch(message)):
                replay.add(read_past_call(f"calls.calls[{at}]", call))
        return Outcome(write_report(replay.finish()).SerializeToString())
    except InvalidInput as error:
        return Outcome(b"", error.problem, error.field)
    except FailedPrecondition as error:
        return Outcome(b"", str(error))


def _read_batch(message: bytes) -> Sequence[pb.PastCall]:
    try:
        request = pb.SimulatePoliciesRequest.FromString(message)
    except DecodeError as error:
        raise InvalidInput("calls", f"a message cannot be read: {error}") from error
    if not request.HasField("calls"):
        raise InvalidInput("calls", ONLY_CALLS)
    if len(request.calls.calls) > _MAX_BATCH:
        raise InvalidInput("calls.calls", f"at most {_MAX_BATCH} at a time")
    return request.calls.calls


def main() -> None:
    """Runs one replay. It ends when quota ends, for whatever reason."""
    os.nice(_NICENESS)
    with Connection(int(sys.argv[1])) as quota:
        try:
            quota.send(replay_from(quota))
        except (EOFError, ConnectionError):
            sys.exit(1)


if __name__ == "__main__":
    main()
