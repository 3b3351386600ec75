"""Whether a run fits the memory of its device: asked before anything is moved there."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from softreg_core.data.part import Part
from softreg_core.data.streamed import StreamedPart
from softreg_core.data.tabular import PreparedData
from softreg_core.engine.weights import precision_for
from softreg_core.errors import ResourceError
from softreg_core.room import free_memory
from softreg_core.spec.estimate import parameter_count, rows_of_batch
from softreg_core.spec.heads import extra_outputs
from softreg_core.spec.memory import Memory, in_words, memory_to_train
from softreg_core.spec.train import TrainSpec

__all__ = ["memory_of", "require_room_to_pack", "require_room_to_train"]

# Workspaces of CUDA's libraries, which lie beside all tensors.
_WORKSPACE = 128 * 2**20


def memory_of(spec: TrainSpec, data: PreparedData, device: torch.device, dtype: torch.dtype = torch.float32) -> Memory:
    """What a run will take of its device."""
    shape, outputs = data.preprocessing.shape, data.preprocessing.outputs
    is_cuda = device.type == "cuda"
    parameters = parameter_count(spec.net, shape, outputs + extra_outputs(spec.loss, outputs))
    # Training rows lie there once more, in the order of the epoch.
    parts = (data.train, data.train, data.validation, data.test) if is_cuda else (data.train,)
    return memory_to_train(
        spec,
        shape,
        outputs,
        data.train.rows,
        data=sum(map(_bytes_of, parts)),
        is_half=precision_for(spec.training.precision, parameters, device, dtype) == "bfloat16",
        number_bytes=dtype.itemsize,
        is_on_host=not is_cuda,
    )


def require_room_to_train(
    spec: TrainSpec, data: PreparedData, device: torch.device, dtype: torch.dtype = torch.float32
) -> None:
    """Refuse a run that would only run out of memory.

    Raises:
        ResourceError: it needs more than is free; the numbers are named.
    """
    free = _free(device)
    if free is None:
        return
    needed = memory_of(spec, data, device, dtype)
    if needed.total > free:
        raise ResourceError(
            f"training needs about {in_words(needed.total)} on {device}: {needed.describe()}; {in_words(free)} are "
            "free: choose a smaller batch, training.accumulate, a smaller input or a smaller net"
        )


def require_room_to_pack(
    specs: Sequence[TrainSpec], data: Sequence[PreparedData], device: torch.device, dtype: torch.dtype
) -> None:
    """Refuse a pack whose members together would run out of memory, though each alone would not.

    Counted are every member's weights, states and batch, no evaluation: a floor, so that none is refused that fits.

    Raises:
        ResourceError: they need more than is free; the numbers are named.
    """
    free = _free(device)
    if free is None:
        return
    is_cuda = device.type == "cuda"
    found = [_of_member(spec, given, dtype, is_on_host=not is_cuda) for spec, given in zip(specs, data, strict=True)]
    rows = sum(_bytes_of(part) for part in {id(given): given.train for given in data}.values())
    needed = Memory(sum(memory.weights for memory in found), sum(memory.batch for memory in found), rows)
    if needed.total > free:
        raise ResourceError(
            f"a pack of {len(specs)} needs about {in_words(needed.total)} on {device}: {needed.describe()}; "
            f"{in_words(free)} are free: choose smaller packs"
        )


def _of_member(spec: TrainSpec, data: PreparedData, dtype: torch.dtype, *, is_on_host: bool) -> Memory:
    """Of no more rows than a batch, evaluation takes no more than training."""
    shape, outputs = data.preprocessing.shape, data.preprocessing.outputs
    rows = rows_of_batch(spec.training.batch_size, data.train.rows)
    return memory_to_train(spec, shape, outputs, rows, number_bytes=dtype.itemsize, is_on_host=is_on_host)


def _free(device: torch.device) -> int | None:
    if device.type != "cuda":
        return free_memory()
    free, _ = torch.cuda.mem_get_info(device)
    # What torch has taken and not used is free for the run too.
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(0, free + unused - _WORKSPACE)


def _bytes_of(part: Part | StreamedPart) -> int:
    if isinstance(part, StreamedPart):  # a piece, and the one that comes after it
        return 2 * max(part.pieces.sizes, default=0) * part.pieces.record.itemsize
    tensors = [*part.inputs, part.target, *(() if part.weight is None else (part.weight,))]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
