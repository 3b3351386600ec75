"""Penalties and controls of training against task, loss, network and inputs; and the monitors that they leave open."""

from __future__ import annotations

from typing import Any

from softreg_core.spec.alpha import largest_alpha
from softreg_core.spec.divergences import CategoricalSpec
from softreg_core.spec.engine import misfit_of_engine
from softreg_core.spec.estimate import rows_of_batch
from softreg_core.spec.fit import couples_a_batch, misfit_of_monitor
from softreg_core.spec.inputs import InputShape
from softreg_core.spec.problems import nearest
from softreg_core.spec.resolve.findings import Findings
from softreg_core.spec.schedule import PlateauScheduleSpec
from softreg_core.spec.split import SplitSizes
from softreg_core.spec.train import TrainSpec
from softreg_core.spec.training import EarlyStoppingSpec

__all__ = ["check_class_weights", "check_controls", "coupling", "filled_monitors", "with_monitor_of_stopping"]

SMOOTHED_BASES = ("cross_entropy", "brier", "binary_cross_entropy")


def with_monitor_of_stopping(spec: TrainSpec) -> TrainSpec:
    """With `restore_best`, checkpoints that leave their monitor open follow early stopping's: one best is delivered."""
    stopping, checkpoints = spec.training.early_stopping, spec.checkpoints
    if stopping is None or not stopping.restore_best or stopping.monitor == "auto" or checkpoints.monitor != "auto":
        return spec
    return spec.model_copy(update={"checkpoints": checkpoints.model_copy(update={"monitor": stopping.monitor})})


def filled_monitors(spec: TrainSpec) -> TrainSpec:
    """Early stopping and plateau wait on the checkpoints' monitor unless they name another."""
    monitor = {"monitor": spec.checkpoints.monitor}
    stopping, schedule = spec.training.early_stopping, spec.schedule
    update: dict[str, Any] = {}
    if stopping is not None and stopping.monitor == "auto":
        update["training"] = spec.training.model_copy(update={"early_stopping": stopping.model_copy(update=monitor)})
    if schedule.kind == "plateau" and schedule.monitor == "auto":
        update["schedule"] = schedule.model_copy(update=monitor)
    return spec.model_copy(update=update)


def check_controls(spec: TrainSpec, shape: InputShape, sizes: SplitSizes, findings: Findings) -> None:
    """What cannot go together is refused, each at its own place; `spec` is filled."""
    _check_monitors(spec, findings)
    _check_accumulation(spec, sizes, findings)
    _check_penalties(spec, shape, findings)
    training = spec.training
    misfit = misfit_of_engine(spec)
    if misfit is not None:
        findings.refuse("/training/engine", misfit)
    if training.class_weights is not None and spec.task.kind != "classification":
        findings.refuse("/training/class_weights", f"the task is {spec.task.kind}, which has no classes to weigh")
    if training.precision == "bfloat16" and spec.resources.device == "cpu":
        findings.refuse(
            "/training/precision", "bfloat16 is offered on CUDA only, where it saves time; the job asks for a CPU"
        )


def check_class_weights(spec: TrainSpec, labels: tuple[str, ...] | None, findings: Findings) -> None:
    """Weights of classes that are there, one of them at least above 0; `labels` are None where there are no classes."""
    wanted = spec.training.class_weights
    if labels is None or spec.task.kind != "classification" or not isinstance(wanted, dict):
        return
    unknown = [label for label in wanted if label not in labels]
    if unknown:
        findings.refuse(
            "/training/class_weights", f"the target has no class '{unknown[0]}'" + nearest(unknown[0], labels)
        )
    elif not any(wanted.get(label, 1.0) for label in labels):
        findings.refuse("/training/class_weights", "every class weighs 0: there is nothing to learn from")


def _check_monitors(spec: TrainSpec, findings: Findings) -> None:
    stopping = spec.training.early_stopping
    watching = [] if stopping is None else [("/training/early_stopping", stopping.monitor)]
    if spec.schedule.kind == "plateau":
        watching.append(("/schedule", spec.schedule.monitor))
    is_validated = spec.split.validation > 0.0
    for pointer, monitor in watching:
        if not is_validated:
            findings.refuse(pointer, "there are no validation rows to watch")
            continue
        misfit = misfit_of_monitor(monitor, spec.task.kind, spec.loss.base)
        if misfit is not None:
            findings.refuse(f"{pointer}/monitor", misfit)
    if stopping is not None and is_validated:
        _check_best(spec, stopping, findings)


def _check_best(spec: TrainSpec, stopping: EarlyStoppingSpec, findings: Findings) -> None:
    if stopping.restore_best and not spec.checkpoints.keep_best:
        message = "restore_best delivers the best epoch, and checkpoints.keep_best is false: set one as the other"
        findings.refuse("/training/early_stopping/restore_best", message)
    if stopping.restore_best and spec.checkpoints.monitor != stopping.monitor:
        message = (
            f"early stopping would deliver the best by {stopping.monitor}, the checkpoints keep the best by "
            f"{spec.checkpoints.monitor}: let the two agree, or set restore_best to false"
        )
        findings.refuse("/training/early_stopping/monitor", message)
    if stopping.patience >= spec.training.epochs:
        message = f"a patience of {stopping.patience} epochs in a run of {spec.training.epochs}: it never stops early"
        findings.advise("early_stopping_never", "/training/early_stopping/patience", message)
    if spec.schedule.kind in ("cosine", "one_cycle"):
        message = f"{spec.schedule.kind} plans the rate for all epochs; a run that stops early ends with a high one"
        findings.advise("schedule_cut_short", "/training/early_stopping", message)
    if spec.schedule.kind == "plateau" and _never_acts(spec.schedule, stopping):
        message = "the plateau waits no less than early stopping does: the rate never falls before the run ends"
        findings.advise("plateau_never_acts", "/schedule/patience", message)


def _never_acts(plateau: PlateauScheduleSpec, stopping: EarlyStoppingSpec) -> bool:
    """Whether whatever makes the plateau wait makes early stopping wait, and for no longer."""
    watches_alike = plateau.monitor == stopping.monitor and plateau.min_delta in (0.0, stopping.min_delta)
    return watches_alike and plateau.patience >= stopping.patience


def _check_accumulation(spec: TrainSpec, sizes: SplitSizes, findings: Findings) -> None:
    parts = spec.training.accumulate
    if parts == 1:
        return
    couples = coupling(spec)
    if couples is not None:
        findings.refuse("/training/accumulate", f"{couples}: parts of a batch would give another gradient")
    rows = min(rows_of_batch(spec.training.batch_size, sizes.train), max(1, sizes.train))
    if parts > rows:
        findings.refuse("/training/accumulate", f"a batch of {rows} rows cannot be taken in {parts} parts")


def coupling(spec: TrainSpec) -> str | None:
    """Why the gradient of a batch is not the mean of its examples' own gradients; None when it is."""
    divergence = spec.loss.divergence
    if couples_a_batch(divergence):
        return "the divergence takes its variance from the whole batch"
    if getattr(spec.net, "norm", "none") == "batch":
        return "norm 'batch' takes statistics over the whole batch"
    return None


def _check_penalties(spec: TrainSpec, shape: InputShape, findings: Findings) -> None:
    penalties, base = spec.penalties, spec.loss.base.kind
    if penalties.label_smoothing:
        if base not in SMOOTHED_BASES:
            message = (
                f"label smoothing goes with classes or labels and base {' or '.join(SMOOTHED_BASES)}, not with {base}"
            )
            findings.refuse("/penalties/label_smoothing", message)
        divergence = spec.loss.divergence
        if (
            isinstance(divergence, CategoricalSpec)
            and divergence.direction == "target_to_prediction"
            and divergence.epsilon
            and largest_alpha(spec.loss.alpha)
        ):
            message = "the divergence smooths labels too (it is label smoothing): the two add up"
            findings.advise("label_smoothing_twice", "/penalties/label_smoothing", message)
    if penalties.mixup:
        reason = _misfit_of_mixup(spec, shape)
        if reason is not None:
            findings.refuse("/penalties/mixup", reason)
    if penalties.input_noise:
        if shape.kind == "text" or (shape.kind == "table" and not shape.numbers):
            findings.refuse("/penalties/input_noise", "noise is added to numbers, and the network takes codes only")
        if spec.preprocess.features == "none":
            message = "features are not standardised: the noise is in each column's own units"
            findings.advise("noise_in_raw_units", "/penalties/input_noise", message)
    if penalties.l2 and getattr(spec.optimizer, "weight_decay", 0.0):
        message = f"{spec.optimizer.kind} decays the weights as well; set its weight_decay to 0 to have l2 alone"
        findings.advise("two_weight_decays", "/penalties/l2", message)


def _misfit_of_mixup(spec: TrainSpec, shape: InputShape) -> str | None:
    if shape.kind not in ("table", "image") or (shape.kind == "table" and shape.levels):
        what = "columns of categories" if shape.kind == "table" else f"inputs of kind {shape.kind}"
        return f"mixup mixes numbers of equal places, and {what} cannot be mixed"
    if spec.training.class_weights is not None or getattr(spec.task, "weight", None) is not None:
        return "a mixed row has two classes and two weights: mixup goes without class weights and weight column"
    variance = getattr(spec.loss.divergence, "variance", None)
    if getattr(variance, "kind", None) == "residual" and spec.task.kind != "regression":
        return "a mixed batch of classes calls the loss twice, and the variance 'residual' moves at each call"
    return None
