"""What the dropout layers of all members draw in a step: each member's own stream, as in its single run."""

# M members, B examples of a batch

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from softreg_core.data.part import Part
from softreg_core.engine.pack.program import Uniforms
from softreg_core.nets.noise import Noise, has_noise, noise_seed, noises_of

__all__ = ["PackedNoise"]


class PackedNoise:
    """Drawn in the order in which the layers draw, with the generators that single runs use."""

    def __init__(self, net: nn.Module, seeds: Sequence[int], device: torch.device) -> None:
        """Args:
        net: a member's.
        seeds: each member's.
        device: of the run.
        """
        self._net = copy.deepcopy(net).train() if has_noise(net) else None
        self._device = device
        self._noise = Noise()
        self._shapes: dict[tuple[torch.Size, ...], list[torch.Size]] = {}
        self.begin(seeds)

    def begin(self, seeds: Sequence[int]) -> None:
        """For which members."""
        self._distinct = list(dict.fromkeys(seeds))
        self._which = torch.tensor([self._distinct.index(seed) for seed in seeds], device=self._device)

    def __call__(self, step: int, rows: Part) -> Uniforms:
        """Of a step of all members.

        Args:
            step: optimiser steps done.
            rows: of one member.
        """
        if self._net is None:
            return Uniforms()
        count = len(self._distinct)
        layers = [torch.empty(count, *shape, device=self._device) for shape in self._shapes_of(self._net, rows)]
        for place, seed in enumerate(self._distinct):
            self._noise.begin(noise_seed(seed, step))
            for layer in layers:
                self._noise.fill(layer[place])
        if count == 1:
            return Uniforms(tuple(layer[0] for layer in layers), is_shared=True)
        if count < len(self._which):
            layers = [layer.index_select(0, self._which) for layer in layers]
        return Uniforms(tuple(layers), is_shared=False)

    @torch.no_grad()
    def _shapes_of(self, net: nn.Module, rows: Part) -> list[torch.Size]:
        key = tuple(tensor.shape for tensor in rows.inputs)
        if key not in self._shapes:
            (noise,) = noises_of(net)
            noise.begin(0)
            with noise.heard() as self._shapes[key]:
                net(*rows.inputs)
        return self._shapes[key]
