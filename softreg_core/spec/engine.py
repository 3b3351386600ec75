"""Which engine can run the steps of which spec, as far as the spec alone tells."""

from __future__ import annotations

from softreg_core.errors import Problem
from softreg_core.spec.beside import teacher_of, twin_of
from softreg_core.spec.task_input import ImageInput
from softreg_core.spec.train import TrainSpec

__all__ = ["misfit_of_engine", "misfit_of_program", "misfit_of_recording", "problem_of_program"]


def misfit_of_engine(spec: TrainSpec) -> str | None:
    """Why the engine that a spec names cannot run it, on any machine; None when it can, or when it names none."""
    engine = spec.training.engine
    if engine in ("auto", "eager"):
        return None
    if engine == "cudagraph" and spec.resources.device == "cpu":
        return "engine 'cudagraph' runs on CUDA only, and the job asks for a CPU: choose compiled, eager or auto"
    if engine == "compiled" and spec.resources.device.startswith("cuda"):
        return "engine 'compiled' runs on a CPU only, and the job asks for CUDA: choose cudagraph, eager or auto"
    misfit = misfit_of_recording(spec) if engine == "cudagraph" else misfit_of_program(spec)
    return None if misfit is None else f"engine '{engine}' runs a step as one program: {misfit}"


def misfit_of_program(spec: TrainSpec) -> str | None:
    """Why a step cannot be one program: a function of tensors, without a look at their values on the way."""
    problem = problem_of_program(spec)
    return None if problem is None else problem.message


def problem_of_program(spec: TrainSpec) -> Problem | None:
    """The same with the place in the spec."""
    problem = _problem_of_recording(spec)
    if problem is None and spec.training.precision == "bfloat16":
        return Problem("/training/precision", "bfloat16 is left to the engines of a GPU, eager and cudagraph")
    return problem


def misfit_of_recording(spec: TrainSpec) -> str | None:
    """Why a step cannot be recorded: it is another one each time, or looks at values on the way."""
    problem = _problem_of_recording(spec)
    return None if problem is None else problem.message


def _problem_of_recording(spec: TrainSpec) -> Problem | None:
    training, penalties, view = spec.training, spec.penalties, spec.task.input
    on_nonfinite = f"on_nonfinite '{training.on_nonfinite}' looks at each step before it is taken"
    problems = (
        (
            training.accumulate > 1,
            "/training/accumulate",
            "a batch goes through the network in one piece there, and accumulate is above 1",
        ),
        (penalties.mixup > 0.0, "/penalties/mixup", "mixup draws each step anew"),
        (penalties.input_noise > 0.0, "/penalties/input_noise", "input_noise draws each step anew"),
        (
            isinstance(view, ImageInput) and view.augment is not None,
            "/task/input/augment",
            "images are augmented anew at each step",
        ),
        (training.on_nonfinite != "fail", "/training/on_nonfinite", on_nonfinite),
        (
            isinstance(training.gradient_terms, int),
            "/training/gradient_terms",
            "gradient_terms are taken apart in single steps",
        ),
        (training.average_weights is not None, "/training/average_weights", "average_weights follows each step"),
        (teacher_of(spec.loss) is not None, "/loss/divergence", "the loss asks a teacher at each step"),
        (twin_of(spec.loss) is not None, "/loss/divergence", "the loss compares two passes at each step"),
        (spec.optimizer.kind == "muon", "/optimizer/kind", "optimizer 'muon' is no formula of single numbers"),
    )
    return next((Problem(pointer, reason) for holds, pointer, reason in problems if holds), None)
