"""One step's loss and gradients of all members, as one traced program for each shape of a batch."""

# M members, P series, B examples of a batch

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.fx import GraphModule

from softreg_core.data.part import Part
from softreg_core.engine.pack.graph import traced_flat
from softreg_core.engine.pack.rows import PackedBatch
from softreg_core.engine.pack.stack import Stack
from softreg_core.engine.program import PureStep
from softreg_core.engine.step.objective import Objective
from softreg_core.spec.train import TrainSpec

__all__ = ["Gradients", "PackProgram", "Uniforms"]


class Uniforms(NamedTuple):
    """What layers that drop draw for one step."""

    tensors: tuple[Tensor, ...] = ()
    """Of each layer (B, ...), or (M, B, ...)."""
    is_shared: bool = True
    """Every member has the same."""


class Gradients(NamedTuple):
    """Of all members."""

    of: dict[str, Tensor]
    """By parameter, (M, ...), clipped where the spec clips; of those that a gradient reaches."""
    sums: Tensor
    """float64 (M, P): see `Told.sums`."""
    buffers: dict[str, Tensor]
    """After the pass, (M, ...)."""
    sigma2: Tensor | None
    """(M,): what the loss took from each batch as its variance; None where it takes none."""


class _Traced(NamedTuple):
    graph: GraphModule
    reached: tuple[str, ...]
    series: tuple[str, ...]
    has_sigma2: bool


Key = tuple[object, ...]


class PackProgram:
    """The template's step over members; a trace serves all numbers, rows and weights of the same shapes."""

    def __init__(self, spec: TrainSpec, objective: Objective) -> None:
        """Args:
        spec: of the template.
        objective: of the template; weights of classes are in the rows' weights.
        """
        self._pure = PureStep(spec, objective, has_weighed_rows=True)
        self._traces: dict[Key, _Traced] = {}
        self._ledgers: dict[Key, GraphModule] = {}
        self.series: tuple[str, ...] = ()
        """What the sums of the last call are of; the last is `weight`."""

    @torch.no_grad()
    def gradients(
        self, stack: Stack, numbers: Mapping[str, Tensor], batch: PackedBatch, uniforms: Uniforms
    ) -> Gradients:
        """Of every member's loss on its batch.

        Args:
            stack: where the members stand; it is not changed.
            numbers: by name, float64 (M,).
            batch: of rows.
            uniforms: of dropout.
        """
        key, flat, call = self._call(stack, numbers, batch, uniforms)
        if key not in self._traces:
            self._traces[key] = self._trace(call, flat)
        graph, reached, self.series, has_sigma2 = self._traces[key]
        sums_MP, *found = graph(*flat)
        sigma2_M = found.pop(0) if has_sigma2 else None
        of = dict(zip(reached, found[: len(reached)], strict=True))
        return Gradients(of, sums_MP, dict(zip(stack.buffers, found[len(reached) :], strict=True)), sigma2_M)

    @torch.no_grad()
    def observed(
        self, stack: Stack, numbers: Mapping[str, Tensor], batch: PackedBatch, uniforms: Uniforms
    ) -> Tensor | None:
        """(M, 3): what the gradient ledger sees of each member; None where there is no divergence."""
        if "alpha" not in numbers:
            return None
        key, flat, call = self._call(stack, numbers, batch, uniforms)
        if key not in self._ledgers:
            self._ledgers[key] = traced_flat(lambda *given: (_ledger(call.apart, call.leaves(given), given),), *flat)
        seen_M3: Tensor = self._ledgers[key](*flat)[0]
        return seen_M3

    def _call(
        self, stack: Stack, numbers: Mapping[str, Tensor], batch: PackedBatch, uniforms: Uniforms
    ) -> tuple[Key, list[Tensor], _Call]:
        call = _Call(self._pure, tuple(stack.trained), tuple(stack.buffers), tuple(numbers), batch, uniforms)
        rows = [*batch.rows.inputs, batch.rows.target, *([] if batch.rows.weight is None else [batch.rows.weight])]
        flat = [*stack.trained.values(), *stack.buffers.values(), *numbers.values(), *rows, *uniforms.tensors]
        shapes = (tuple(t.shape) for t in (*rows, *uniforms.tensors))
        return (stack.members, batch.is_shared, batch.rows.weight is None, *shapes), flat, call

    def _trace(self, call: _Call, flat: list[Tensor]) -> _Traced:
        told: dict[str, tuple[str, ...]] = {}
        has_sigma2 = False

        def step(*given: Tensor) -> tuple[Tensor, ...]:
            nonlocal has_sigma2
            leaves = call.leaves(given)
            total_M, sums_MP, moved, sigma2 = call.told(leaves, given)
            found = torch.autograd.grad(total_M.sum(), list(leaves.values()), allow_unused=True)
            reached = {name: g for name, g in zip(leaves, found, strict=True) if g is not None}
            told["reached"], has_sigma2 = tuple(reached), bool(sigma2)
            clipped, sums_MP = torch.vmap(self._clipped)(reached, sums_MP.detach())
            told["series"] = self._pure.series
            return (sums_MP, *sigma2, *clipped.values(), *moved.values())

        graph = traced_flat(step, *flat)
        return _Traced(graph, told["reached"], told["series"], has_sigma2)

    def _clipped(self, gradients: dict[str, Tensor], sums_P: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        clipped, norm = self._pure.clipped(gradients)
        return dict(clipped), self._pure.with_norm(sums_P, norm)


class _Call:
    """The step of one member, mapped over members; its arguments come in one flat list."""

    def __init__(
        self,
        pure: PureStep,
        trained: tuple[str, ...],
        buffers: tuple[str, ...],
        numbers: tuple[str, ...],
        batch: PackedBatch,
        uniforms: Uniforms,
    ) -> None:
        self._pure, self._trained, self._buffers, self._numbers = pure, trained, buffers, numbers
        self._inputs, self._has_weight = len(batch.rows.inputs), batch.rows.weight is not None
        self._dims = (0, 0, None if batch.is_shared else 0, None if uniforms.is_shared else 0)

    def leaves(self, given: Sequence[Tensor]) -> dict[str, Tensor]:
        """What is trained, to be differentiated by."""
        pairs = zip(self._trained, given[: len(self._trained)], strict=True)
        return {name: tensor.detach().requires_grad_() for name, tensor in pairs}

    def told(
        self, leaves: dict[str, Tensor], given: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor], tuple[Tensor, ...]]:
        """Totals, sums, buffers, and the batches' variances where they are used."""

        def one(
            trained: dict[str, Tensor], known: dict[str, dict[str, Tensor]], rows: list[Tensor], drawn: list[Tensor]
        ) -> tuple[Tensor, Tensor, dict[str, Tensor], tuple[Tensor, ...]]:
            told = self._pure.told(trained, known["buffers"], known["numbers"], self._part(rows), drawn)
            sigma2 = self._pure.followed()
            return told.total, told.sums, told.buffers, () if sigma2 is None else (sigma2.detach(),)

        return torch.vmap(one, in_dims=self._dims)(leaves, *self._rest(given))

    def apart(self, leaves: dict[str, Tensor], given: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Weighted base and divergence, (M,) each."""

        def one(
            trained: dict[str, Tensor], known: dict[str, dict[str, Tensor]], rows: list[Tensor], drawn: list[Tensor]
        ) -> tuple[Tensor, Tensor]:
            base, divergence = self._pure.apart(trained, known["buffers"], known["numbers"], self._part(rows), drawn)
            return base, torch.zeros_like(base) if divergence is None else divergence

        return torch.vmap(one, in_dims=self._dims)(leaves, *self._rest(given))

    def _rest(self, given: Sequence[Tensor]) -> tuple[dict[str, dict[str, Tensor]], list[Tensor], list[Tensor]]:
        """Buffers and numbers; rows; what is drawn."""
        rest = list(given[len(self._trained) :])
        buffers = {name: rest.pop(0) for name in self._buffers}
        numbers = {name: rest.pop(0) for name in self._numbers}
        width = self._inputs + 1 + self._has_weight
        return {"buffers": buffers, "numbers": numbers}, rest[:width], rest[width:]

    def _part(self, rows: list[Tensor]) -> Part:
        return Part(tuple(rows[: self._inputs]), rows[self._inputs], rows[-1] if self._has_weight else None)


def _ledger(
    apart: Callable[[dict[str, Tensor], Sequence[Tensor]], tuple[Tensor, Tensor]],
    leaves: dict[str, Tensor],
    given: Sequence[Tensor],
) -> Tensor:
    """(M, 3): see `gradient_terms`, which does it for one."""
    of = list(leaves.values())
    base, divergence = (_gradients(value_M, of) for value_M in apart(leaves, given))
    norm_M, other_M = (_norm(gradients) for gradients in (base, divergence))
    # Of one relative vector and one as it is: their product is no longer than the other, so nothing overflows.
    dots_KM = torch.stack([_sum(one / _wide(norm_M, one) * other) for one, other in zip(base, divergence, strict=True)])
    return torch.stack([norm_M, other_M, dots_KM.sum(0) / other_M], dim=1)


def _gradients(value_M: Tensor, leaves: list[Tensor]) -> tuple[Tensor, ...]:
    """By parameter; 0 where it plays no part."""
    return torch.autograd.grad(value_M.sum(), leaves, retain_graph=True, allow_unused=True, materialize_grads=True)


def _norm(gradients: Sequence[Tensor]) -> Tensor:
    """(M,): of all parameters together."""
    norms = [g.abs() if g.ndim == 1 else torch.linalg.vector_norm(g, dim=list(range(1, g.ndim))) for g in gradients]
    norm_M: Tensor = torch.linalg.vector_norm(torch.stack(norms), dim=0)
    return norm_M


def _sum(values: Tensor) -> Tensor:
    return values if values.ndim == 1 else values.sum(list(range(1, values.ndim)))


def _wide(values_M: Tensor, like: Tensor) -> Tensor:
    return values_M.view(-1, *[1] * (like.ndim - 1))
