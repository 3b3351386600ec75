"""Which tier runs the steps of a run."""

from __future__ import annotations

from softreg_core.engine.advance import Chosen, Job

__all__ = ["choose"]


def choose(job: Job) -> Chosen:
    """The tier for a run that is about to begin, on its device and with its threads set."""
    return Chosen("eager", f"engine '{job.spec.training.engine}': no other tier is built in yet")
