"""The process in which one replay runs: `python -m services.quota.transport.simulation_worker FD`.

A replay is all computing. In quota's own process it would take turns with the Checks of living calls for the one
interpreter, and each of them would wait. Here it has its own, at a lower priority, and its memory is gone with it.

FD is a socket to quota. It brings a `Proposal`, then serialized `PastCalls`, and at last zero bytes; it takes an
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
    """Replays what comes.

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
    """Runs one replay. Quota's end, however it came, ends it too."""
    os.nice(_NICENESS)
    with Connection(int(sys.argv[1])) as quota:
        try:
            quota.send(replay_from(quota))
        except (EOFError, ConnectionError):
            sys.exit(1)


if __name__ == "__main__":
    main()
