"""Which tier runs the steps of a run, and why."""

from __future__ import annotations

import itertools
import logging
import time
from typing import NamedTuple

from softreg_core.engine.batches import batches_of
from softreg_core.engine.tiers.advance import Chosen, Job, eager_instead
from softreg_core.engine.tiers.artifacts import Artifacts, artifacts_directory
from softreg_core.engine.tiers.compile import Program, compiler_version, load_program, make_program
from softreg_core.engine.tiers.compiled import Compiled
from softreg_core.engine.tiers.experience import Experience, Prospect, decide
from softreg_core.engine.tiers.on_cuda import choose_on_cuda
from softreg_core.engine.tiers.plan import Plan, key_of_program, plan_of
from softreg_core.spec.engine import misfit_of_program

__all__ = ["choose"]

_LOG = logging.getLogger(__name__)
# Fewer, or steps of less time in all, gain less than it costs to look for a program and to measure.
_FEW_STEPS = 1_000
_FEW_SECONDS = 0.3
# Single steps are timed this often, and no longer than this share of what they say the job will take.
_TIMED_STEPS = 5
_TIMED_SHARE = 0.01
# Of a single step; from here on a program is not worth its differences.
_NO_GAIN = 0.95


def choose(job: Job) -> Chosen:
    """The tier for a run that is about to begin, on its device and with its threads set.

    A run that is resumed goes on in the tier that it began in, where that can be had: then its bits are those of a
    run that was not interrupted.
    """
    engine = job.spec.training.engine
    if job.device.type == "cuda":
        return choose_on_cuda(job)
    if engine == "eager":
        return Chosen("eager", "engine 'eager' was asked for")
    if engine == "compiled":
        return _compiled(job, "engine 'compiled' was asked for")
    if engine == "auto":
        return _auto(job)
    why = f"engine '{engine}' runs on CUDA only, and the run has a CPU"
    return Chosen("eager", why, warning=f"the steps are taken one by one: {why}")


def _auto(job: Job) -> Chosen:
    told = "engine 'auto'"
    if job.before == "compiled":
        return _compiled(job, f"{told}: as before it was interrupted")
    misfit = job.misfit_of_rows or misfit_of_program(job.spec)
    if misfit is not None:
        return Chosen("eager", f"{told}: {misfit}")
    if job.before is not None:
        return Chosen("eager", f"{told}: as before it was interrupted")
    steps = job.total_steps - job.step
    if steps <= _FEW_STEPS:
        return Chosen("eager", f"{told}: {steps} steps repay no program")
    try:
        return _repaid(job, steps, told)
    except Exception as error:  # noqa: BLE001  whatever it is, the job can do without
        return _without(told, error)


def _repaid(job: Job, steps: int, told: str) -> Chosen:
    """Compiled where that pays."""
    before = job.stepper.live().copied()
    seconds = _seconds_per_step(job, steps)
    if steps * seconds <= _FEW_SECONDS:
        return Chosen("eager", f"{told}: {steps} steps of {seconds * 1e6:.0f} us repay no program")
    wanted = _wanted(job)
    program = load_program(wanted.key, wanted.artifacts)
    net, experience = job.spec.net.kind, wanted.experience
    if program is None and compiler_version() is None:
        return Chosen("eager", f"{told}: there is no compiler of C++ (g++) on this machine")
    if program is None:
        share = experience.share(net, seconds)
        is_worth, reason = decide(Prospect(steps, seconds, experience.compile_seconds(net, wanted.plan.size), share))
        if not is_worth:
            return Chosen("eager", f"{told}: {reason}")
        program = _made(job, wanted)
        told = f"{told}: {reason}"
    else:
        told = f"{told}: its program was there"
    compiled = Compiled(job, wanted.plan, program)
    share = compiled.seconds_per_step() / seconds
    experience.note_share(net, seconds, share)
    measured = f"a compiled step takes {share:.2f} of a single one"
    if share > _NO_GAIN:
        job.stepper.put(before)
        return Chosen("eager", f"{told}, and {measured}")
    return Chosen("compiled", f"{told}; {measured}", compiled)


def _compiled(job: Job, told: str) -> Chosen:
    """Compiled whatever it costs, or not at all and a warning."""
    misfit = job.misfit_of_rows or misfit_of_program(job.spec)
    if misfit is not None:
        return eager_instead(told, misfit)
    try:
        wanted = _wanted(job)
        program = load_program(wanted.key, wanted.artifacts)
        return Chosen("compiled", told, Compiled(job, wanted.plan, program or _made(job, wanted)))
    except Exception as error:  # noqa: BLE001  whatever it is, the job can do without
        return _without(told, error)


class _Wanted(NamedTuple):
    """A program that a run could use."""

    plan: Plan
    key: str
    artifacts: Artifacts
    experience: Experience


def _wanted(job: Job) -> _Wanted:
    plan, artifacts = plan_of(job), Artifacts(artifacts_directory())
    key = key_of_program(job, plan, compiler_version() or "none")
    return _Wanted(plan, key, artifacts, Experience(artifacts))


def _made(job: Job, wanted: _Wanted) -> Program:
    if compiler_version() is None:
        raise RuntimeError("there is no compiler of C++ (g++) on this machine")
    made = make_program(wanted.key, job.spec, wanted.plan, wanted.artifacts)
    wanted.experience.note_compile(job.spec.net.kind, wanted.plan.size, made.seconds)
    return made.program


def _without(told: str, error: Exception) -> Chosen:
    _LOG.warning("no compiled program: %s", error, exc_info=error)
    what = f"{type(error).__name__}: {str(error).strip()[:300]}"
    warning = f"the steps are taken one by one: the program could not be compiled ({what})"
    return Chosen("eager", f"{told}, but it could not be compiled ({what})", warning=warning)


def _seconds_per_step(job: Job, steps: int) -> float:
    """Of the fastest of a few single steps, which are undone."""
    stepper = job.stepper
    before = stepper.live().copied()
    stepper.begin_epoch()
    epoch = min(job.step // job.steps_per_epoch, job.spec.training.epochs - 1)
    batches = batches_of(job.rows, job.batch_size, job.spec.training.seed)(epoch)
    taken: list[float] = []
    for step, batch in enumerate(itertools.islice(itertools.cycle(list(itertools.islice(batches, 3))), _TIMED_STEPS)):
        begun = time.perf_counter()
        stepper.take(batch, job.step + step)
        taken.append(time.perf_counter() - begun)
        if sum(taken) > _TIMED_SHARE * steps * min(taken):
            break
    stepper.put(before)
    return min(taken)
