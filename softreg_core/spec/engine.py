"""Which engine can run the steps of which spec, as far as the spec alone tells."""

from __future__ import annotations

from softreg_core.spec.beside import teacher_of, twin_of
from softreg_core.spec.task_input import ImageInput
from softreg_core.spec.train import TrainSpec

__all__ = ["misfit_of_engine", "misfit_of_program", "misfit_of_recording"]


def misfit_of_engine(spec: TrainSpec) -> str | None:
    """Why the engine that a spec names cannot run it, on any machine; None when it can, or when it names none."""
    engine = spec.training.engine
    if engine in ("auto", "eager"):
        return None
    if engine == "cudagraph" and spec.resources.device == "cpu":
        return "engine 'cudagraph' runs on CUDA only, and the job asks for a CPU: choose compiled, eager or auto"
    misfit = misfit_of_recording(spec) if engine == "cudagraph" else misfit_of_program(spec)
    return None if misfit is None else f"engine '{engine}' runs a step as one program: {misfit}"


def misfit_of_program(spec: TrainSpec) -> str | None:
    """Why a step cannot be one program: a function of tensors, without a look at their values on the way."""
    misfit = misfit_of_recording(spec)
    is_half = misfit is None and spec.training.precision == "bfloat16"
    return "bfloat16 is left to the engines of a GPU, eager and cudagraph" if is_half else misfit


def misfit_of_recording(spec: TrainSpec) -> str | None:
    """Why a step cannot be recorded: it is another one each time, or looks at values on the way."""
    training, penalties, view = spec.training, spec.penalties, spec.task.input
    reasons = {
        "a batch goes through the network in one piece there, and accumulate is above 1": training.accumulate > 1,
        "mixup draws each step anew": penalties.mixup > 0.0,
        "input_noise draws each step anew": penalties.input_noise > 0.0,
        "images are augmented anew at each step": isinstance(view, ImageInput) and view.augment is not None,
        f"on_nonfinite '{training.on_nonfinite}' looks at each step before it is taken": (
            training.on_nonfinite != "fail"
        ),
        "gradient_terms are taken apart in single steps": isinstance(training.gradient_terms, int),
        "average_weights follows each step": training.average_weights is not None,
        "the loss asks a teacher at each step": teacher_of(spec.loss) is not None,
        "the loss compares two passes at each step": twin_of(spec.loss) is not None,
        "optimizer 'muon' is no formula of single numbers": spec.optimizer.kind == "muon",
    }
    return next((reason for reason, holds in reasons.items() if holds), None)
