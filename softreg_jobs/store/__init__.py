"""The only writer of job rows: every change is a guarded statement in the caller's transaction.

`submit` is what the API writes, `attempt` and `ending` what a worker writes, `ending.reap` what the keeper writes;
all of them change a job's state through `moves.move` alone.
"""

from softreg_jobs.store.attempt import (
    Claim,
    NewCheckpoint,
    StoredCheckpoint,
    beat,
    claim,
    publish_checkpoint,
    record_metrics,
)
from softreg_jobs.store.ending import (
    AttemptFacts,
    ModelFile,
    Result,
    cancelled,
    expired_leases,
    fail,
    reap,
    release,
    state_under_fence,
    succeed,
    worker_fault,
)
from softreg_jobs.store.submit import NewJob, StoredReply, once, request_cancel, submit

__all__ = [
    "AttemptFacts",
    "Claim",
    "ModelFile",
    "NewCheckpoint",
    "NewJob",
    "Result",
    "StoredCheckpoint",
    "StoredReply",
    "beat",
    "cancelled",
    "claim",
    "expired_leases",
    "fail",
    "once",
    "publish_checkpoint",
    "reap",
    "record_metrics",
    "release",
    "request_cancel",
    "state_under_fence",
    "submit",
    "succeed",
    "worker_fault",
]
