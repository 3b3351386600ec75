"""Which tier runs the steps of a run on a GPU, and why."""

from __future__ import annotations

import logging
from functools import partial

from softreg_core.engine.tiers.advance import Chosen, Job, eager_instead
from softreg_core.engine.tiers.cuda_graph import Record, record
from softreg_core.engine.tiers.recorded import Recorded
from softreg_core.spec.engine import misfit_of_recording

__all__ = ["choose_on_cuda"]

_LOG = logging.getLogger(__name__)
# Recording takes as long as some hundred launches.
_FEW_STEPS = 200
# Multiplications and additions of a step, from which on a GPU computes for longer than Python needs to launch it.
_LARGE_STEP = 2e11


def choose_on_cuda(job: Job, by: Record | None = None) -> Chosen:
    """Recorded where that was asked for, or where launches are what a step waits for; else eager.

    Args:
        job: whose steps are to be taken.
        by: what records; CUDA on the job's device when not given.
    """
    by = by or partial(record, device=job.device)
    engine = job.spec.training.engine
    told = f"engine '{engine}'"
    if engine == "eager":
        return Chosen("eager", f"{told} was asked for")
    if engine == "compiled":
        return eager_instead(told, "programs are compiled for the CPU only")
    misfit = job.misfit_of_rows or misfit_of_recording(job.spec)
    if engine == "cudagraph":
        return eager_instead(told, misfit) if misfit is not None else _recorded(job, f"{told} was asked for", by)
    why_not = misfit or _why_not(job)
    if why_not is not None and job.before != "cudagraph":
        return Chosen("eager", f"{told}: {why_not}")
    return _recorded(job, f"{told}: steps so small wait for their launches", by)


def _why_not(job: Job) -> str | None:
    if job.before is not None:
        return "as before it was interrupted"
    steps = job.total_steps - job.step
    if steps < _FEW_STEPS:
        return f"{steps} steps repay no recording"
    work = 6.0 * job.multiplications * min(job.batch_size, job.rows.rows)
    return f"steps of {work:.0e} operations are long enough for a GPU" if work >= _LARGE_STEP else None


def _recorded(job: Job, told: str, by: Record) -> Chosen:
    try:
        return Chosen("cudagraph", told, Recorded(job, by))
    except Exception as error:  # noqa: BLE001  whatever it is, the job can do without
        _LOG.warning("no recorded step: %s", error, exc_info=error)
        what = f"the step could not be recorded ({type(error).__name__}: {str(error).strip()[:300]})"
        return eager_instead(told, what)
