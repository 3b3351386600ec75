"""sigma2, the variance that residuals are measured by: a number, or one that follows from the data or the batch."""

# B examples, C outputs

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from softreg_core.losses.parts import DataMeta
from softreg_core.losses.residual import Residual
from softreg_core.losses.rows import emptied, kept_mean
from softreg_core.spec.divergences import (
    FixedVarianceSpec,
    OutputVarianceSpec,
    ResidualVarianceSpec,
    TargetVarianceSpec,
    VarianceSpec,
)

__all__ = ["VARIANCES", "Variance", "build_variance", "output_variance", "target_variance"]


class Variance(nn.Module, ABC):
    """Called with a batch, gives the sigma2 to use for it."""

    used: float | Tensor
    """What the last call gave, without a gradient."""

    @abstractmethod
    def forward(self, pair: Residual) -> float | Tensor:
        """Above 0: a number, or a tensor of no dimension."""

    @abstractmethod
    def settled(self) -> float | Tensor:
        """What does not depend on a batch to come: the number, the moving mean so far, or the last batch's."""


class FixedVariance(Variance):
    """A number."""

    def __init__(self, spec: FixedVarianceSpec, _: DataMeta | None) -> None:
        super().__init__()
        self.used = spec.value

    def forward(self, _: Residual) -> float | Tensor:
        """The number, or the tensor that was given in its place."""
        return self.used

    def settled(self) -> float:
        """The number."""
        return float(self.used)


class TargetVariance(Variance):
    """The variance of the training targets; see `target_variance`."""

    value: Tensor

    def __init__(self, spec: TargetVarianceSpec, data_meta: DataMeta | None) -> None:
        if data_meta is None or data_meta.target_variance is None:
            raise ValueError("variance 'target' is that of the training targets: give DataMeta.target_variance")
        super().__init__()
        # In float64, so that what is stored with the model is what was measured.
        self.register_buffer("value", torch.tensor(max(data_meta.target_variance, spec.floor), dtype=torch.float64))

    def forward(self, pair: Residual) -> Tensor:
        """The targets' variance."""
        self.used = self.value.to(pair.squared.dtype)
        return self.used

    def settled(self) -> Tensor:
        """The targets' variance."""
        return self.value


class ResidualVariance(Variance):
    """The moving mean of d2 over the batches before this one.

    It begins at what a constant prediction would have, C times the targets' variance where that is known, else at 1.
    A batch moves it in training only, after it was used, by (1 - momentum) of the way to the batch's own mean, and
    not at all when that is not finite. Calls within `held` are one batch. No gradient flows through it.
    """

    value: Tensor

    def __init__(self, spec: ResidualVarianceSpec, data_meta: DataMeta | None) -> None:
        super().__init__()
        self.momentum = spec.momentum
        self.floor = spec.floor
        known = data_meta is not None and data_meta.target_variance is not None
        start = data_meta.outputs * data_meta.target_variance if known else 1.0  # type: ignore[union-attr, operator]
        self.register_buffer("value", torch.tensor(max(start, spec.floor), dtype=torch.float64))
        self._held: list[tuple[Tensor, Tensor]] | None = None

    @torch.no_grad()
    def forward(self, pair: Residual) -> Tensor:
        """The mean before this batch."""
        self.used = self.value.to(pair.squared.dtype, copy=True).clamp(min=self.floor)
        if self.training:
            ones_B = torch.ones_like(pair.squared) if pair.weight is None else pair.weight
            seen = kept_mean(pair.squared.double(), pair.weight), ones_B.double().sum()
            if self._held is None:
                self._take_in([seen])
            else:
                self._held.append(seen)
        return self.used

    @contextmanager
    def held(self) -> Iterator[None]:
        """The calls of one optimiser step: the mean moves once, when all of them have used it."""
        self._held = []
        try:
            yield
            with torch.no_grad():
                self._take_in(self._held)
        finally:
            self._held = None

    def _take_in(self, seen: list[tuple[Tensor, Tensor]]) -> None:
        """Means of d2, each with the sum of its weights."""
        if not seen:
            return
        mass = torch.stack([one for _, one in seen]).sum()
        mean = torch.stack([mean * one for mean, one in seen]).sum() / mass
        moved = self.momentum * self.value + (1.0 - self.momentum) * mean
        self.value.copy_(torch.where(moved.isfinite(), moved, self.value))  # a mass of 0 makes it NaN

    def settled(self) -> Tensor:
        """The mean so far."""
        return self.value.clamp(min=self.floor)


class OutputVariance(Variance):
    """The variance of the outputs over the batch; see `output_variance`."""

    def __init__(self, spec: OutputVarianceSpec, _: DataMeta | None) -> None:
        super().__init__()
        self.spec = spec
        self.used = 1.0

    def forward(self, pair: Residual) -> Tensor:
        """The batch's."""
        is_centred = self.spec.statistic == "centred"
        variance = output_variance(pair, is_centred=is_centred).clamp(min=self.spec.floor)
        self.used = variance.detach()
        return variance if self.spec.gradient == "through" else self.used

    def settled(self) -> float | Tensor:
        """The last batch's."""
        return self.used


def output_variance(pair: Residual, *, is_centred: bool) -> Tensor:
    """The variance of the outputs over the batch's kept, weighted rows, averaged over the outputs.

    mean_c mean_b (yhat_bc - m_c)^2,  m_c = mean_b yhat_bc; not centred: m_c = 0

    Args:
        pair: checked prediction and target; see `residual`.
        is_centred: whether each output's own mean is taken off.

    Returns:
        float (), not negative; the gradient flows through it. 0 for a batch of one, centred.

    Source:
        The article, section 3.3: "the variance of the model's output".
    """
    centre_C: float | Tensor = kept_mean(pair.prediction, pair.weight) if is_centred else 0.0
    return kept_mean((pair.prediction - centre_C).square(), pair.weight).mean()


@torch.no_grad()
def target_variance(target: Tensor, outputs: int, weight: Tensor | None = None) -> float:
    """The variance of targets, averaged over the outputs; class codes count as one-hot rows.

    Args:
        target: class codes (N,), or values (N, C).
        outputs: C.
        weight: (N,), not negative; 1 each when not given. A row of weight 0 is as if it were not there.

    Returns:
        1 for standardised values; for K classes of equal size (K - 1) / K^2, 0.09 for ten.
    """
    if target.ndim == 1 and not target.is_floating_point():
        weight_N = None if weight is None else weight.double()
        mass_C = torch.bincount(target, weight_N, minlength=outputs).double()
        share_C = mass_C / mass_C.sum()
        return float((share_C * (1.0 - share_C)).mean())
    values_NC = emptied(target.double().reshape(target.shape[0], -1), weight)
    return float(kept_mean((values_NC - kept_mean(values_NC, weight)).square(), weight).mean())


def build_variance(spec: VarianceSpec, data_meta: DataMeta | None) -> Variance:
    """The sigma2 that a spec names."""
    return VARIANCES[spec.kind](spec, data_meta)


VARIANCES: dict[str, Callable[[Any, DataMeta | None], Variance]] = {
    "fixed": FixedVariance,
    "target": TargetVariance,
    "residual": ResidualVariance,
    "output": OutputVariance,
}
