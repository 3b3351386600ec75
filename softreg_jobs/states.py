"""The states of a job and the one table of legal moves between them.

`store` builds every guarded UPDATE from MOVES; a trigger in the database holds the same table, so that no program,
old or new, can make another move.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ACTIVE", "MOVES", "TERMINAL", "Actor", "JobState", "sources_of"]


class JobState(StrEnum):
    """Where a job stands; succeeded, failed and cancelled are final."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Actor(StrEnum):
    """Who may make a move."""

    API = "api"
    WORKER = "worker"
    KEEPER = "keeper"


_API = frozenset({Actor.API})
_WORKER = frozenset({Actor.WORKER})
_KEEPER = frozenset({Actor.KEEPER})
_BOTH = _WORKER | _KEEPER

MOVES: dict[JobState, dict[JobState, frozenset[Actor]]] = {
    JobState.QUEUED: {JobState.RUNNING: _WORKER, JobState.CANCELLED: _API, JobState.FAILED: _KEEPER},
    JobState.RUNNING: {
        JobState.SUCCEEDED: _WORKER,
        JobState.FAILED: _BOTH,
        JobState.PAUSING: _API,
        JobState.CANCELLING: _API,
        # By the worker when it drains or its runner died, by the keeper when a lease ran out.
        JobState.QUEUED: _BOTH,
    },
    JobState.PAUSING: {
        JobState.PAUSED: _BOTH,
        JobState.SUCCEEDED: _WORKER,
        JobState.FAILED: _BOTH,
        JobState.CANCELLING: _API,
        JobState.QUEUED: _KEEPER,
    },
    # Never back to queued: a wish to cancel outlives the worker that was to honour it.
    JobState.CANCELLING: {JobState.CANCELLED: _BOTH, JobState.FAILED: _BOTH},
    JobState.PAUSED: {JobState.QUEUED: _API, JobState.CANCELLED: _API},
}

TERMINAL = frozenset(state for state in JobState if state not in MOVES)
# A worker holds a lease on the job.
ACTIVE = frozenset({JobState.RUNNING, JobState.PAUSING, JobState.CANCELLING})


def sources_of(target: JobState, actor: Actor) -> frozenset[JobState]:
    """The states from which `actor` may move a job to `target`."""
    return frozenset(source for source, moves in MOVES.items() if actor in moves.get(target, frozenset()))
