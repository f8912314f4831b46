"""The process in which one replay runs: `python -m services.quota.transport.simulation_worker FD`.

A replay only computes. In quota's own process it would compete with Checks for the one interpreter, and each Check
would wait. Here it has an interpreter of its own, at a lower priority, and its memory is freed with the process.

FD is a socket to quota. It delivers a `Proposal`, then serialised `PastCalls`, and finally zero bytes; it takes an
`Outcome`.
"""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Connection

from spendgate.quota.v1 import simulation_service_pb2 as pb

from services.kernel.errors import FailedPrecondition, InvalidInput
from services.quota.domain.replay.replay import Replay
from services.quota.transport.simulation_messages import Outcome, read_past_call, write_report
from services.quota.usecases.simulate import Proposal

_NICENESS = 10


def replay_from(quota: Connection) -> Outcome:
    """Replays the calls that arrive.

    Raises:
        EOFError: quota has gone.
    """
    proposal: Proposal = quota.recv()
    replay = Replay(proposal.policies, proposal.routes)
    try:
        while batch := quota.recv_bytes():
            for at, call in enumerate(pb.PastCalls.FromString(batch).calls):
                replay.add(read_past_call(f"calls.calls[{at}]", call))
        return Outcome(write_report(replay.finish()).SerializeToString())
    except InvalidInput as error:
        return Outcome(b"", error.problem, error.field)
    except FailedPrecondition as error:
        return Outcome(b"", str(error))


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
