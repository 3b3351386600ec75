"""From a net spec to a module, by `kind`; a test holds that the spec and this table name the same kinds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from softreg_core.keyed import key_of
from softreg_core.nets.mlp import build_mlp
from softreg_core.spec.inputs import InputShape
from softreg_core.spec.net import NetSpec

__all__ = ["NETS", "build_net"]


def build_net(net_spec: NetSpec, shape: InputShape, outputs: int, seed: int) -> nn.Module:
    """The network on the CPU, in float32, with fresh weights; it is called as `net(*inputs)` and returns (B, outputs).

    The weights depend on the spec, the sizes and the seed, and on nothing else: torch's global generator is
    neither read nor moved.
    """
    generator = torch.Generator()
    generator.manual_seed(int.from_bytes(key_of(seed, "init")[:8], "little", signed=True))
    return NETS[net_spec.kind](net_spec, shape, outputs, generator)


NETS: dict[str, Callable[[NetSpec, InputShape, int, torch.Generator], nn.Module]] = {"mlp": build_mlp}
