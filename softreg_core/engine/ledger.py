"""The ledger of a loss's terms: what each weighs in the total, and how their gradients lie to each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from softreg_core.engine.step.backward import gradients
from softreg_core.engine.step.terms import PENALTIES, Apart, Terms
from softreg_core.spec.train import TrainSpec

__all__ = ["GradientLedger", "gradient_terms", "with_shares"]


def with_shares(means: Mapping[str, float], *, is_convex: bool) -> dict[str, float]:
    """Logged means, and beside them each term as it enters the total.

    share of a term = weighted term / sum over the terms of |weighted term|

    Args:
        means: `loss`, `base`, perhaps `divergence`, `weighted.divergence` and penalties, which are weighted already.
        is_convex: the base weighs 1 - alpha.

    Returns:
        `means`, and `share.*` of each term where there is more than one, negative for a term below 0; with a convex
        sum `weighted.base` too.
    """
    found = dict(means)
    penalties = {name: means[name] for name in PENALTIES if name in means}
    terms = {"base": means["base"]} | penalties
    if "weighted.divergence" in means:
        terms["divergence"] = means["weighted.divergence"]
        if is_convex:
            terms["base"] = means["loss"] - terms["divergence"] - sum(penalties.values())
            found["weighted.base"] = terms["base"]
    if len(terms) > 1:
        size = sum(abs(value) for value in terms.values())
        found |= {f"share.{name}": value / size if size else math.nan for name, value in terms.items()}
    return found


class GradientLedger:
    """Gradients of base and divergence apart, at the steps where the spec asks for them.

    Each costs a backward pass more. Nothing is kept from step to step, so a resumed run finds the same.
    """

    def __init__(self, spec: TrainSpec, steps_per_epoch: int) -> None:
        self._every = spec.training.gradient_terms
        self._steps_per_epoch = steps_per_epoch
        self._seen_3: Tensor | Sequence[float] | None = None

    def wants(self, step_in_epoch: int, step: int) -> bool:
        """Whether to look at a step; both count the steps done before it."""
        if isinstance(self._every, int):
            return (step + 1) % self._every == 0
        # The last of an epoch: what the epoch's other numbers are told with.
        return self._every == "epoch" and step_in_epoch + 1 == self._steps_per_epoch

    @property
    def is_of_steps(self) -> bool:
        """Whether it is told with steps and not with epochs."""
        return isinstance(self._every, int)

    def observe(self, terms: Terms | Apart, trained: Mapping[str, nn.Parameter]) -> None:
        """Look at a step before it is differentiated."""
        self._seen_3 = gradient_terms(terms, list(trained.values()))

    def put(self, seen_3: Sequence[float] | None) -> None:
        """What a program saw in place of `observe`."""
        self._seen_3 = seen_3

    def take(self) -> dict[str, float]:
        """What was seen since the last call, by series; waits for the device. Nothing where nothing was looked at."""
        seen, self._seen_3 = self._seen_3, None
        if seen is None:
            return {}
        numbers = seen.tolist() if isinstance(seen, Tensor) else seen
        return dict(zip(("gradient.base", "gradient.divergence", "gradient.cosine"), numbers, strict=True))


def gradient_terms(terms: Terms | Apart, parameters: Sequence[Tensor]) -> Tensor | None:
    """(3,): the norms of the gradients of weighted base and weighted divergence, and the cosine between them.

    None where there is no divergence.
    """
    if isinstance(terms, Apart):
        pulls = (terms.of_base, terms.of_divergence)
        found = [gradients(terms.prediction, pull_BC, parameters) for pull_BC in pulls]
    else:
        base_B, divergence_B = terms.weighted()
        if divergence_B is None:
            return None
        found = [_gradients(terms.mean(values_B), parameters) for values_B in (base_B, divergence_B)]
    both = torch.cat([_flat(one, p) for of in found for one, p in zip(of, parameters, strict=True)]).view(2, -1)
    norms = torch.linalg.vector_norm(both, dim=1)
    # Of the relative vectors: the product of two norms may overflow where neither does.
    relative = both / norms.unsqueeze(1)
    return torch.cat([norms, torch.dot(relative[0], relative[1]).unsqueeze(0)])


def _gradients(value: Tensor, parameters: Sequence[Tensor]) -> Sequence[Tensor | None]:
    if not value.requires_grad:
        return [None] * len(parameters)
    return torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)


def _flat(gradient: Tensor | None, parameter: Tensor) -> Tensor:
    """One axis; 0 where the parameter plays no part."""
    return (torch.zeros_like(parameter) if gradient is None else gradient).reshape(-1)
