"""Whether the model that a job names as its teacher is there and answers what the job learns."""

from __future__ import annotations

from sqlalchemy import Connection

from softreg_core.errors import Problem
from softreg_core.spec import Resolution, TrainSpec
from softreg_core.spec.beside import Learned, misfit_of_teacher, teacher_of
from softreg_jobs import queries
from softreg_jobs.errors import NotFoundError

__all__ = ["problem_of_teacher"]

_POINTER = "/loss/divergence/source/model"


def problem_of_teacher(connection: Connection, tenant_id: str, resolution: Resolution) -> Problem | None:
    """Why the job cannot learn from its teacher; None when it can, or has none that was trained before."""
    teacher = teacher_of(resolution.spec.loss)
    if teacher is None or teacher.source.kind != "model":
        return None
    name = teacher.source.model
    if name is None:
        return Problem(_POINTER, "the id of a finished model is needed: mdl_...")
    try:
        origin = queries.get_origin(connection, tenant_id, name)
    except NotFoundError as error:
        return Problem(_POINTER, error.message)
    spec, shape = TrainSpec.model_validate(origin.spec), origin.resolution["shape"]
    misfit = misfit_of_teacher(
        _learned(spec, origin.resolution["labels"]), _learned(resolution.spec, resolution.labels)
    )
    if misfit is not None:
        return Problem(_POINTER, f"the teacher has other outputs: {misfit}")
    own = resolution.shape.model_dump(mode="json")
    if shape["kind"] != own["kind"] or (own["kind"] != "table" and shape != own):
        return Problem(_POINTER, f"the teacher takes other inputs: of kind {shape['kind']}, not as this network does")
    missing = next((column for column in spec.task.features if column not in resolution.spec.task.features), None)
    if own["kind"] == "table" and missing is not None:
        return Problem(_POINTER, f"the teacher needs column '{missing}', which is no feature of this job")
    return None


def _learned(spec: TrainSpec, labels: list[str] | tuple[str, ...] | None) -> Learned:
    return Learned(spec.task.kind, tuple(spec.task.target), None if labels is None else tuple(labels), spec.loss.base)
