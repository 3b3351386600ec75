"""The training loop."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from softreg_core.data.tabular import PreparedData
from softreg_core.engine.events import CheckpointDue, Started, Stopped, TrainEvent
from softreg_core.engine.manifest import Manifest, deterministic, manifest_of
from softreg_core.engine.run import Control, Run
from softreg_core.engine.state import TrainingState
from softreg_core.engine.step.beside import Teacher
from softreg_core.engine.threads import limited_threads
from softreg_core.engine.tiers.choose import choose
from softreg_core.errors import NonFiniteLossError
from softreg_core.spec.train import TrainSpec
from softreg_core.spec.work import work_per_row

__all__ = ["started", "stopped", "train", "unstored"]


def train(
    spec: TrainSpec,
    data: PreparedData,
    *,
    resume: TrainingState | None = None,
    resume_best: TrainingState | None = None,
    control: Control | None = None,
    device: str = "cpu",
    keep_step_losses: bool = False,
    teacher: Teacher | None = None,
    dtype: torch.dtype = torch.float32,
) -> Iterator[TrainEvent]:
    """Train, telling what happens.

    The same spec, data and machine give the same events bit for bit, resumed or not; only `Progress` follows the
    clock. While the generator is suspended it is at a step boundary. Torch's number of threads is set for the run
    and set back when the generator ends or is closed.

    Args:
        spec: resolved against the dataset.
        data: from `prepare` with the same spec.
        resume: a state of the same run to go on from.
        resume_best: the state of `resume.best`, when that is another one than `resume`.
        control: asked before every step, by an engine that takes many at a time about ten times a second; a word other
            than None ends the run there with `Stopped`.
        device: `cpu`, `cuda` or `cuda:N`.
        teacher: the model, as `softreg_core.load` gives it, that a loss with divergence `teacher` learns from.
        keep_step_losses: give each step's mean loss with `EpochEnded`.
        dtype: of weights, data and loss; float64 is for comparisons, where rounding would hide what is compared.

    Yields:
        See softreg_core.engine.events.

    Raises:
        NonFiniteLossError: a term of the loss became NaN or infinite. No state of that epoch is handed out; those
            of the best and of the last completed epoch come before the error, unless they came earlier.
        DataError: a state to resume from does not fit, or the teacher has other outputs or inputs.
        SpecError: the loss needs a teacher that was not given, or the other way round.
        TypeError: the data was not prepared.
        ResourceError: the run needs more memory than its device has free.
    """
    run = Run(spec, data, torch.device(device), teacher, dtype)
    if resume is not None:
        run.restore(resume, resume_best)
    work = work_per_row(spec.net, data.preprocessing.shape, data.preprocessing.outputs)
    with deterministic(run.device), limited_threads(work.multiplications, run.most_rows):
        run.chosen = choose(run.job)
        run.manifest = manifest_of(run.device, run.precision, run.order, run.chosen)
        yield started(run, run.manifest)
        try:
            yield from _epochs(run, control or _never, keep_step_losses=keep_step_losses)
        except NonFiniteLossError:
            yield from unstored(run)
            raise


def _never() -> None:
    return None


def _epochs(run: Run, control: Control, *, keep_step_losses: bool) -> Iterator[TrainEvent]:
    while not run.is_over:
        reason = yield from run.train_epoch(control)
        if reason is not None:
            yield from stopped(run, reason)
            return
        yield run.end_epoch(keep_step_losses=keep_step_losses)
        if run.epoch % run.spec.checkpoints.every_epochs == 0 or run.is_over:
            yield from unstored(run)
    yield run.finish()


def started(run: Run, manifest: Manifest) -> Started:
    epochs = run.spec.training.epochs
    return Started(
        total_steps=epochs * run.steps_per_epoch,
        steps_per_epoch=run.steps_per_epoch,
        epochs=epochs,
        parameters=run.parameters,
        device=str(run.device),
        start_step=run.step,
        manifest=manifest,
    )


def unstored(run: Run) -> Iterator[CheckpointDue]:
    """The best epoch's state, then the last epoch's, if they are new: a stored state's best is stored before it."""
    yield from _new_best(run)
    state = run.last_good
    if state is not None and run.stored_step != state.step:
        run.stored_step = state.step
        yield CheckpointDue(state, state.metrics, is_best=False)


def _new_best(run: Run) -> Iterator[CheckpointDue]:
    state = run.best.take_unpublished()
    if state is not None:
        run.stored_step = state.step
        yield CheckpointDue(state, state.metrics, is_best=True)


def stopped(run: Run, reason: str) -> Iterator[TrainEvent]:
    run.check_finite()
    yield from _new_best(run)
    yield Stopped(run.capture(), reason, is_stored=run.stored_step == run.step)
