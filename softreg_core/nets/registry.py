"""From a net spec to a module, by `kind`; a test holds that the spec and this table name the same kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from softreg_core.keyed import seed_of
from softreg_core.nets.cnn import build_cnn
from softreg_core.nets.linear import build_linear
from softreg_core.nets.mlp import build_mlp
from softreg_core.nets.resnet import build_resnet
from softreg_core.nets.rnn import build_rnn
from softreg_core.nets.transformer import build_transformer
from softreg_core.spec.inputs import InputShape
from softreg_core.spec.net import NetSpec
from softreg_core.spec.net_fit import misfit_of_net
from softreg_core.spec.work import work_per_row

__all__ = ["NETS", "build_net"]


def build_net(
    net_spec: NetSpec,
    shape: InputShape,
    outputs: int,
    seed: int,
    statistics: Mapping[str, NDArray[np.float64]] | None = None,
) -> nn.Module:
    """The network on the CPU, in float32, with fresh weights; it is called as `net(*inputs)` and returns (B, outputs).

    The weights depend on the spec, the sizes and the seed, and on nothing else: torch's global generator is
    neither read nor moved. Before training steps of a network that drops, see softreg_core.nets.noise.

    Args:
        net_spec: which network.
        shape: what it takes.
        outputs: C.
        seed: of the training run.
        statistics: `mean` and `std` of the training rows, each of the size of the buffers `front.mean` and
            `front.std` that networks of images (one number per channel, of pixels / 255 where they are uint8),
            sequences (per value) and sound (per band) have; 0 and 1 when not given, and where a std is 0.

    Raises:
        ValueError: this network does not take these inputs, or has no place for these statistics.
    """
    misfit = misfit_of_net(net_spec, shape)
    if misfit is not None:
        raise ValueError(misfit)
    generator = torch.Generator()
    generator.manual_seed(seed_of(seed, "init"))
    net = NETS[net_spec.kind](net_spec, shape, outputs, generator)
    # For evaluation, which takes as many rows at once as memory should hold.
    net.numbers_per_row = work_per_row(net_spec, shape, outputs).numbers  # type: ignore[assignment]
    if statistics:
        _fill(dict(net.named_buffers()), statistics)
    return net


def _fill(buffers: dict[str, torch.Tensor], statistics: Mapping[str, NDArray[np.float64]]) -> None:
    for name, values in statistics.items():
        buffer = buffers.get(f"front.{name}")
        if buffer is None or buffer.shape != values.shape:
            has = "none" if buffer is None else f"one of shape {tuple(buffer.shape)}"
            raise ValueError(f"statistics '{name}' of shape {values.shape}; the network has {has}")
        buffer.copy_(torch.from_numpy(np.asarray(values, dtype=np.float32)))
        if name == "std":
            buffer.masked_fill_(buffer == 0.0, 1.0)


NETS: dict[str, Callable[[Any, InputShape, int, torch.Generator], nn.Module]] = {
    "linear": build_linear,
    "mlp": build_mlp,
    "cnn": build_cnn,
    "resnet": build_resnet,
    "rnn": build_rnn,
    "transformer": build_transformer,
}
