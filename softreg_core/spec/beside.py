"""What a training step needs besides one pass of the network: a teacher's outputs, or a second pass."""

from __future__ import annotations

from typing import Literal, NamedTuple

from softreg_core.spec.alpha import largest_alpha
from softreg_core.spec.bases import BaseSpec
from softreg_core.spec.divergences import TeacherSpec, TwinSpec
from softreg_core.spec.fit import has_logits, link_is_log
from softreg_core.spec.loss import LossSpec
from softreg_core.spec.net import NetSpec
from softreg_core.spec.net_fit import has_dropout

__all__ = ["Learned", "misfit_of_teacher", "misfit_of_twin", "teacher_of", "twin_of"]


def teacher_of(loss: LossSpec) -> TeacherSpec | None:
    """The teacher that counts at some step of the run."""
    divergence = loss.divergence
    return divergence if isinstance(divergence, TeacherSpec) and largest_alpha(loss.alpha) > 0.0 else None


def twin_of(loss: LossSpec) -> TwinSpec | None:
    """The twin that counts at some step of the run."""
    divergence = loss.divergence
    return divergence if isinstance(divergence, TwinSpec) and largest_alpha(loss.alpha) > 0.0 else None


def misfit_of_twin(loss: LossSpec, net: NetSpec) -> str | None:
    """Why two passes through `net` would be one and the same; None when they differ, or when there is one pass."""
    if twin_of(loss) is None or has_dropout(net):
        return None
    if net.kind == "linear":
        return "twin compares two passes with other dropout masks, and net 'linear' has none: choose another net"
    where = ", and give it hidden layers" if net.kind == "mlp" and not net.hidden else ""
    return f"twin compares two passes with other dropout masks, and this net has none: set net.dropout above 0{where}"


class Learned(NamedTuple):
    """What a network's outputs stand for."""

    task: str
    target_names: tuple[str, ...]
    labels: tuple[str, ...] | None
    base: BaseSpec


def misfit_of_teacher(teacher: Learned, own: Learned) -> str | None:
    """Why a teacher's outputs cannot be compared with those that are learned; None when they can."""
    if teacher.task != own.task:
        return f"its task is {teacher.task}, not {own.task}"
    if teacher.labels != own.labels:
        return f"it tells {_named(teacher.labels)}, not {_named(own.labels)}"
    if own.labels is None and teacher.target_names != own.target_names:
        return f"it predicts {_named(teacher.target_names)}, not {_named(own.target_names)}"
    theirs, ours = _output_kind(teacher.base), _output_kind(own.base)
    if theirs != ours:
        return f"they are {theirs} (base {teacher.base.kind}), not {ours} (base {own.base.kind})"
    return None


def _named(names: tuple[str, ...] | None) -> str:
    several = names or ()
    return f"{len(several)} outputs (" + ", ".join(several[:5]) + (", ...)" if len(several) > 5 else ")")


def _output_kind(base: BaseSpec) -> Literal["logits", "logarithms", "values"]:
    if has_logits(base):
        return "logits"
    return "logarithms" if link_is_log(base) else "values"
