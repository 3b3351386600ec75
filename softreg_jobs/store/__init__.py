"""The only writer of job rows: every change is a guarded statement in the caller's transaction.

`submit` is what the API writes, `attempt` and `ending` what a worker writes, `ending.reap` what the keeper writes;
all of them change a job's state through `moves.move` alone. `exports` is a small ledger of its own: files of a model
that are built after its job has succeeded.
"""

from softreg_jobs.store.attempt import (
    Claim,
    NewCheckpoint,
    StoredCheckpoint,
    beat,
    claim,
    holds,
    publish_checkpoint,
    record_metrics,
    record_warning,
)
from softreg_jobs.store.ending import (
    AttemptFacts,
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
from softreg_jobs.store.exports import (
    ExportClaim,
    claim_export,
    fail_export,
    finish_export,
    give_export_back,
    renew_export,
    want_export,
)
from softreg_jobs.store.files import ModelFile
from softreg_jobs.store.submit import NewJob, StoredReply, once, request_cancel, submit

__all__ = [
    "AttemptFacts",
    "Claim",
    "ExportClaim",
    "ModelFile",
    "NewCheckpoint",
    "NewJob",
    "Result",
    "StoredCheckpoint",
    "StoredReply",
    "beat",
    "cancelled",
    "claim",
    "claim_export",
    "expired_leases",
    "fail",
    "fail_export",
    "finish_export",
    "give_export_back",
    "holds",
    "once",
    "publish_checkpoint",
    "reap",
    "record_metrics",
    "record_warning",
    "release",
    "renew_export",
    "request_cancel",
    "state_under_fence",
    "submit",
    "succeed",
    "want_export",
    "worker_fault",
]
