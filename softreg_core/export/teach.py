"""A finished model as the teacher of another: from that one's inputs to outputs in its units."""

# B examples, D features, C outputs

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from softreg_core.data.encode import TableEncoding
from softreg_core.data.preprocessing import Preprocessing, Scaling
from softreg_core.errors import DataError
from softreg_core.export.document import ModelDocument
from softreg_core.spec.bases import BaseSpec
from softreg_core.spec.beside import Learned, misfit_of_teacher

__all__ = ["teach"]

Inputs = tuple[Tensor, ...]


def teach(
    document: ModelDocument, net: nn.Module, preprocessing: Preprocessing, base: BaseSpec, device: torch.device
) -> Callable[[Inputs], Tensor]:
    """The teacher's outputs, (B, C), for inputs that were prepared by `preprocessing`.

    Where the teacher was trained with the same preprocessing, its inputs are these; columns of numbers that were
    scaled otherwise, or stand in another order, are scaled back and anew.

    Raises:
        DataError: the model has other outputs than are learned here, or needs inputs that are not there.
    """
    theirs = _learned(document.preprocessing(), document.spec.loss.base)
    misfit = misfit_of_teacher(theirs, _learned(preprocessing, base))
    if misfit is not None:
        raise DataError(f"the teacher has other outputs: {misfit}", "other_outputs")
    adapt = _inputs(document.preprocessing(), preprocessing, device)
    restore = _outputs(document.preprocessing().target, preprocessing.target, device)
    teacher = copy.deepcopy(net).to(device).eval().requires_grad_(requires_grad=False)

    def outputs(inputs: Inputs) -> Tensor:
        # Without the variances that a network may put out after its predictions.
        return restore(teacher(*adapt(inputs))[:, : document.outputs])

    return outputs


def _learned(preprocessing: Preprocessing, base: BaseSpec) -> Learned:
    return Learned(preprocessing.task, preprocessing.target_names, preprocessing.labels, base)


def _inputs(theirs: Preprocessing, ours: Preprocessing, device: torch.device) -> Callable[[Inputs], Inputs]:
    one, other = theirs.inputs, ours.inputs
    if isinstance(one, TableEncoding) and isinstance(other, TableEncoding):
        return _table_inputs(one, other, device)
    # What the network normalises by is its own: images, sequences and sounds come as they are. What is refused does
    # not matter: the rows are there.
    unlike = {"mean", "std", "has_missing"}
    if type(one) is not type(other) or one.model_dump(exclude=unlike) != other.model_dump(exclude=unlike):
        raise DataError("the teacher prepares its inputs in another way", "other_inputs")
    return lambda inputs: inputs


def _table_inputs(theirs: TableEncoding, ours: TableEncoding, device: torch.device) -> Callable[[Inputs], Inputs]:
    if theirs.categories != ours.categories:
        raise DataError("the teacher has other columns of categories, or other codes for them", "other_inputs")
    if _is_same(theirs.scaling, ours.scaling):
        return lambda inputs: inputs
    place = {name: index for index, name in enumerate(ours.scaling.names)}
    missing = next((name for name in theirs.scaling.names if name not in place), None)
    if missing is not None:
        message = f"the teacher needs column '{missing}', which is no feature here"
        raise DataError(message, "other_inputs", column=missing)
    index = np.array([place[name] for name in theirs.scaling.names], dtype=np.int64)
    if not index.size:
        raise DataError("the teacher has no columns of numbers, and there are some here", "other_inputs")
    columns = torch.from_numpy(index).to(device)
    factor, shift = _affine(ours.scaling.mean[index], ours.scaling.scale[index], theirs.scaling, device)
    return lambda inputs: ((inputs[0][:, columns].double() * factor + shift).float(), *inputs[1:])


def _outputs(theirs: Scaling | None, ours: Scaling | None, device: torch.device) -> Callable[[Tensor], Tensor]:
    if theirs is None or ours is None or _is_same(theirs, ours):
        return lambda outputs: outputs
    factor, shift = _affine(theirs.mean, theirs.scale, ours, device)
    return lambda outputs: (outputs.double() * factor + shift).float()


def _affine(mean_C: Any, scale_C: Any, to: Scaling, device: torch.device) -> tuple[Tensor, Tensor]:
    """From scaled by the first two to scaled by `to`: factor and shift."""
    factor, shift = scale_C / to.scale, (mean_C - to.mean) / to.scale
    return torch.from_numpy(factor).to(device), torch.from_numpy(shift).to(device)


def _is_same(one: Scaling, other: Scaling) -> bool:
    is_same = one.names == other.names and np.array_equal(one.mean, other.mean)
    return is_same and np.array_equal(one.scale, other.scale)
