"""A step's loss: what it is made of before it is differentiated, how examples become one number, what is told of it."""

# B examples of a batch

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from softreg_core.losses import LossParts
from softreg_core.losses.rows import kept_mean

__all__ = ["PENALTIES", "Apart", "Compared", "Observer", "Outcome", "Terms", "summed"]

PENALTIES = ("label_smoothing", "l1", "l2")
"""Those that are terms of a loss, by series and by field of the spec."""

Columns = dict[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """Every tensor carries its graph."""

    parts: LossParts
    """Per example, not reduced."""
    weight: Tensor | None
    """(B,): an example's weight in every mean; None when all weigh the same."""
    of_examples: dict[str, Tensor] = field(default_factory=dict)
    """Penalties per example, (B,), by series."""
    of_weights: dict[str, Tensor] = field(default_factory=dict)
    """Penalties of the weights, scalars, by series."""
    alpha: float | Tensor = 0.0
    """The divergence's weight at this step."""
    is_convex: bool = False
    """The base weighs 1 - alpha."""

    def weighted(self) -> tuple[Tensor, Tensor | None]:
        """Base and divergence as they enter the total, (B,) each; no divergence where there is none."""
        base_B, divergence_B = self.parts.base, self.parts.divergence
        if divergence_B is None:
            return base_B, None
        if isinstance(self.alpha, float) and self.alpha == 0.0:  # not multiplied: it may be infinite
            return base_B, torch.zeros_like(divergence_B)
        return (1.0 - self.alpha) * base_B if self.is_convex else base_B, self.alpha * divergence_B

    @property
    def total(self) -> Tensor:
        """What is minimised, a scalar."""
        total = self.of_batch
        for penalty in self.of_weights.values():
            total = total + penalty
        return total

    @property
    def of_batch(self) -> Tensor:
        """The part of `total` that the examples make."""
        total_B = self.parts.total
        for penalty_B in self.of_examples.values():
            total_B = total_B + penalty_B
        return self.mean(total_B)

    def mean(self, values_B: Tensor) -> Tensor:
        """The reduction of this step: the mean, or sum_b w_b v_b / sum_b w_b; 0 where every weight is 0."""
        return kept_mean(values_B, self.weight)

    def columns(self) -> dict[str, Tensor]:
        """What is logged of each example, by series, (B,) each."""
        columns = {name: part for name, part in self.parts._asdict().items() if part is not None}
        with torch.no_grad():  # of what is only logged there is no graph
            weighted_B = self.weighted()[1]
        if weighted_B is not None:
            columns["weighted.divergence"] = weighted_B
        if self.of_examples or self.of_weights:
            shared = {name: penalty.expand_as(self.parts.total) for name, penalty in self.of_weights.items()}
            penalties = self.of_examples | shared
            columns["total"] = self.parts.total + torch.stack(list(penalties.values())).sum(0)
            columns |= penalties
        return columns if self.weight is None else columns | {"weight": self.weight}


class Compared(NamedTuple):
    """What terms of a loss follow from, where nothing else takes part."""

    prediction: Tensor
    """float32 (N, C), without a graph."""
    target: Tensor
    """int64 class codes (N,), or float32 (N, C)."""
    noted: dict[str, float | Tensor]
    """What else there is to a step, one number each, or (N,): `alpha` where it changes and `energy`, see
    `ClosedGradient`, on which the values depend; and whole series, as penalties of the weights and `gradient_norm`."""


class Apart(NamedTuple):
    """What base and divergence pull at, by a closed form."""

    prediction: Tensor
    """float32 (B, C), with its graph."""
    of_base: Tensor
    """(B, C): the gradient of the weighted base's mean with respect to it."""
    of_divergence: Tensor
    """(B, C): that of the weighted divergence's."""


class Outcome(NamedTuple):
    """What a step gave."""

    told: Columns | Callable[[], Columns]
    """Each series' value per example, (B,): `total`, `base`, perhaps `divergence`, penalties and `weight`. Or how to
    compute them."""
    compared: Compared | None = None
    """What the series follow from, where it does not matter when they are computed."""
    is_taken: bool = True
    """False where loss or gradient was not finite and somebody asked to look: then nothing was updated."""

    @property
    def columns(self) -> Columns:
        """The series, computed by now."""
        return self.told() if callable(self.told) else self.told

    def note(self, name: str, value: Tensor) -> None:
        """One series more, of one number for the whole step."""
        if self.compared is not None:
            self.compared.noted[name] = value
        else:
            columns = self.columns
            columns[name] = value.expand_as(columns["total"])

    def means(self) -> dict[str, float]:
        """`loss` and the other series, over the step's examples; waits for the device."""
        columns = self.columns
        weight = columns.get("weight")
        names = [name for name in columns if name != "weight"]
        stacked_PB = torch.stack([columns[name].detach() for name in names])
        means_P = stacked_PB.mean(1) if weight is None else (stacked_PB * weight).sum(1) / weight.sum()
        return {"loss" if n == "total" else n: v for n, v in zip(names, means_P.tolist(), strict=True)}


Observer = Callable[[Terms | Apart, dict[str, nn.Parameter]], None]
"""Looks at a step's terms and the trained parameters before `backward`; it may differentiate a term on its own by
`torch.autograd.grad(terms.mean(terms.parts.base), ..., retain_graph=True)`. Of a closed form it sees the two parts."""


def summed(columns: Columns) -> tuple[tuple[str, ...], Tensor]:
    """Names, and float64 (P,): each series' sum over the examples, each times its weight.

    The last is `weight`, of which the sum is that of the weights themselves.
    """
    values = dict(columns)
    weight = values.pop("weight", None)
    values_PB = torch.stack(list(values.values())).double()
    mass = values_PB.new_full((), values_PB.shape[1]) if weight is None else weight.double().sum()
    # Taken out before it is multiplied: 0 * inf is NaN, and a row that does not count may hold anything.
    counted_PB = values_PB if weight is None else torch.where(weight > 0, values_PB, 0.0) * weight
    return (*values, "weight"), torch.cat([counted_PB.sum(1), mass.reshape(1)])
