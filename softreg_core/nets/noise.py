"""Dropout whose masks are a function of (seed, step, pass): no generator's state has to be kept to resume a run.

Torch's own dropout draws from the global generator. Here the layers of a network share one stream, and every training
step begins it anew, so that a run that was interrupted at any step draws the masks of one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from softreg_core.keyed import seed_of

__all__ = ["Dropout", "Noise", "has_noise", "noise_seed", "noises_of", "set_noise"]


class Noise:
    """One stream of numbers for all layers of a network that drop."""

    def __init__(self) -> None:
        self._seed: int | None = None
        self._generator: torch.Generator | None = None
        self._given: Iterator[Tensor] | None = None
        self._heard: list[torch.Size] | None = None
        self._source: Callable[[Tensor], Tensor] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Noise:
        """Generators cannot be copied; a copied network has a stream of its own, which is begun before it trains."""
        copied = memo[id(self)] = Noise()
        return copied

    def begin(self, seed: int) -> None:
        """The numbers that follow are those of `seed`."""
        self._seed = seed
        if self._generator is not None and self._source is None:
            self._generator.manual_seed(seed)

    def give(self, uniforms: Iterable[Tensor] | None) -> None:
        """The numbers that follow are these, in this order, whatever is begun; with None those of the seed again."""
        self._given = None if uniforms is None else iter(uniforms)

    @contextmanager
    def heard(self) -> Iterator[list[torch.Size]]:
        """Lists the shapes that are drawn, in order."""
        self._heard = []
        try:
            yield self._heard
        finally:
            self._heard = None

    def draw_from(self, source: Callable[[Tensor], Tensor] | None) -> None:
        """The numbers that follow are what this gives for a tensor `like` them; with None those of the seed again."""
        self._source = source

    def uniform(self, like: Tensor) -> Tensor:
        """The next numbers from 0 to 1, float32, of the shape and on the device of `like`."""
        if self._heard is not None:
            self._heard.append(like.shape)
        if self._source is not None:
            return self._source(like)
        if self._given is not None:
            return next(self._given)
        return torch.rand(like.shape, generator=self._begun(like.device), device=like.device)

    def fill(self, numbers: Tensor) -> None:
        """Put the next numbers of the seed, those that `uniform` gives, into a float32 tensor."""
        numbers.uniform_(generator=self._begun(numbers.device))

    def _begun(self, device: torch.device) -> torch.Generator:
        if self._seed is None:
            raise RuntimeError("a network that drops is trained after set_noise(net, seed, step)")
        if self._generator is None or self._generator.device != device:
            self._generator = torch.Generator(device)
            self._generator.manual_seed(self._seed)
        return self._generator


class Dropout(nn.Module):
    """In training, a number becomes 0 with probability `rate`, and x / (1 - rate) otherwise; else x.

    Source: Srivastava et al. 2014, in the inverted form that torch has.
    Differs: the masks come from `noise`.
    """

    def __init__(self, rate: float, noise: Noise) -> None:
        super().__init__()
        self.rate = rate
        self.noise = noise

    def forward(self, x: Tensor) -> Tensor:
        """Any shape; the same shape."""
        if not self.training or self.rate == 0.0:
            return x
        kept = self.noise.uniform(x) >= self.rate
        return x * kept.to(x.dtype).div_(1.0 - self.rate)

    def extra_repr(self) -> str:
        """For printing."""
        return f"rate={self.rate}"


def has_noise(net: nn.Module) -> bool:
    """Whether two passes over the same rows in training differ."""
    return bool(noises_of(net))


def set_noise(net: nn.Module, seed: int, step: int, pass_: int = 0) -> None:
    """Say which masks come next; needed before each pass in training of a network that drops, free for others.

    Args:
        net: the network, or a module that holds it.
        seed: of the training run.
        step: global step, from 0.
        pass_: number of the pass over the same rows within the step; each has other masks.
    """
    for noise in noises_of(net):
        noise.begin(noise_seed(seed, step, pass_))


def noise_seed(seed: int, step: int, pass_: int = 0) -> int:
    """What `set_noise` begins the streams with."""
    return seed_of(seed, "dropout", step, pass_)


# Walking over the modules of a deep network would cost as much as a small step.
_FOUND: WeakKeyDictionary[nn.Module, tuple[Noise, ...]] = WeakKeyDictionary()


def noises_of(net: nn.Module) -> tuple[Noise, ...]:
    """The streams of a network: one, or none."""
    if net not in _FOUND:
        layers = (module for module in net.modules() if isinstance(module, Dropout) and module.rate > 0.0)
        _FOUND[net] = tuple({id(layer.noise): layer.noise for layer in layers}.values())
    return _FOUND[net]
