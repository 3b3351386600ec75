"""A stretch of an epoch as one function of tensors: a loop over its steps, for a compiler."""

# B examples of a batch, L of the epoch's last one, N training rows, C steps of a call, P series, Q numbers

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._higher_order_ops.while_loop import while_loop
from torch.export import Dim

from softreg_core.data.part import Part
from softreg_core.engine.program.step import PureStep, Standing, traced
from softreg_core.engine.program.updates import UPDATES
from softreg_core.engine.tiers.layout import Layout, joined_gradient
from softreg_core.spec.train import TrainSpec

__all__ = ["Example", "Stretch", "sizes_that_vary", "stretch_of"]

Flat = tuple[Tensor, ...]
_while: Callable[[Callable[..., Tensor], Callable[..., Flat], Flat], Flat] = while_loop


class Example(NamedTuple):
    """What a stretch is traced with: shapes and dtypes count, values do not."""

    standing: Standing
    layout: Layout
    names: tuple[str, ...]
    """Of the numbers, with those of `biases`."""
    rows: Part
    """The training rows; with weights where any row weighs another than another."""
    full: int
    """B; 0 where the epoch has its last step only."""
    last: int
    """L; 0 where the last step is as the others."""
    uniforms: tuple[tuple[int, ...], ...] = ()
    """Shapes of what the layers that drop draw, for one row of a batch: without B."""
    is_observed: bool = False
    """Whether the ledger looks at the last step."""
    series: tuple[str, ...] = ()
    """Of the sums: those of `PureStep`, and `sigma2` before the last where the loss follows a batch's outputs."""


@dataclass(frozen=True, slots=True)
class _One:
    """A step of one size of batch, flat."""

    graph: torch.fx.GraphModule
    of: int
    """Rows."""


class Stretch(nn.Module):
    """Full steps up to `stop`, then the epoch's last one where `ends` is above 0.

    forward(stop, ends, order_CB, order_L, numbers_CQ, uniforms..., rows..., idle..., packed...) with

        stop: int64 (1,), full steps of this call, at most C.
        ends: int64 (1,), 0 or 1: whether the last step follows them.
        order_CB: int64, row numbers of the full steps; left out where there are none.
        order_L: int64, those of the last step; left out where it is as the others.
        numbers_CQ: float64, row by row of the full steps and, one row further, of the last.
        uniforms: of each layer that drops float32 (C, B, ...), then of each (L, ...); left out as the orders are. C and
            N may be other numbers than those of the example, but not below 2.
        rows: inputs, target and weight, (N, ...) each.
        idle: parameters that no gradient reaches.
        packed: as `Layout.pack` gives it.

    gives (sums_CP float64 with the last step's row after the full ones, seen_3 if the ledger looks, packed...).
    """

    def __init__(self, example: Example, full: _One | None, last: _One | None, series: int) -> None:
        super().__init__()
        self.example = example
        self._full, self._last, self._series = full, last, series

    def example_arguments(self) -> list[Tensor]:
        """Such that every step is traced."""
        return [tensor for tensor, _ in _arguments(self.example)]

    def forward(self, *given: Tensor) -> Flat:
        """See the class."""
        rest = iter(given)
        stop, ends = next(rest), next(rest)
        order_CB = next(rest) if self._full else None
        order_L = next(rest) if self._last else None
        numbers_CQ = next(rest)
        noisy = len(self.example.uniforms)
        of_full = [next(rest) for _ in range(noisy if self._full else 0)]
        of_last = [next(rest) for _ in range(noisy if self._last else 0)]
        rows = [next(rest) for _ in range(_width(self.example.rows))]
        idle = [next(rest) for _ in _idle(self.example)]
        standing: Flat = tuple(rest)
        at = torch.zeros_like(stop)
        sums_CP = torch.zeros((numbers_CQ.shape[0], self._series), dtype=torch.float64)
        if self._full is not None and order_CB is not None:
            full = self._full

            def taken(at: Tensor, sums_CP: Tensor, *standing: Tensor) -> Flat:
                some = _rows(rows, order_CB.index_select(0, at).squeeze(0))
                noise = [uniforms.index_select(0, at).squeeze(0) for uniforms in of_full]
                sums_P, *after = full.graph(*_numbers(numbers_CQ, at), *noise, *some, *idle, *standing)
                return (at + 1, sums_CP.index_copy(0, at, sums_P.unsqueeze(0)), *after)

            _, sums_CP, *moved = _while(lambda at, *_: (at < stop).all(), taken, (at, sums_CP, *standing))
            standing = tuple(moved)
        if self._last is None or order_L is None:
            return (sums_CP, *standing)
        # Not from where the first loop stopped: torch 2.13 compiles that wrongly for a loop of no step.
        last, at, end = self._last, stop + 0, stop + ends

        def ended(at: Tensor, sums_CP: Tensor, *carried: Tensor) -> Flat:
            standing = carried[1:] if self.example.is_observed else carried
            some = _rows(rows, order_L)
            sums_P, *after = last.graph(*_numbers(numbers_CQ, at), *of_last, *some, *idle, *standing)
            return (at + 1, sums_CP.index_copy(0, at, sums_P.unsqueeze(0)), *after)

        seen = (torch.zeros(3, dtype=sums_CP.dtype),) if self.example.is_observed else ()
        _, *found = _while(lambda at, *_: (at < end).all(), ended, (at, sums_CP, *seen, *standing))
        return tuple(found)


def stretch_of(spec: TrainSpec, pure: PureStep, example: Example) -> Stretch:
    """The loop of a step.

    Raises:
        ValueError: the step is no function of its arguments alone: a tensor is written into its trace.
    """
    full = _one(spec, pure, example, example.full, is_last=False) if example.full else None
    last = _one(spec, pure, example, example.last, is_last=True) if example.last else None
    return Stretch(example, full, last, len(example.series))


def _arguments(example: Example) -> list[tuple[Tensor, bool]]:
    """As of a call of two full steps and the last one; and of each whether its first size varies from call to call."""
    steps, full, last = 2, example.full, example.last
    order = torch.arange(steps * full).reshape(steps, full) % example.rows.rows
    found = [(torch.tensor([0]), False), (torch.tensor([0]), False)]
    found += [(order, True)] if full else []
    found += [(torch.arange(last), False)] if last else []
    found.append((torch.full((steps + 1, len(example.names)), 0.1, dtype=torch.float64), True))
    found += [(torch.rand(steps, full, *shape), True) for shape in example.uniforms if full]
    found += [(torch.rand(last, *shape), False) for shape in example.uniforms if last]
    found += [(tensor, True) for tensor in _leaves(example.rows)]
    found += [(tensor.detach(), False) for tensor in _idle(example).values()]
    return found + [(tensor, False) for tensor in example.layout.pack(example.standing)]


def sizes_that_vary(stretch: Stretch) -> tuple[dict[int, Any] | None, ...]:
    """For `torch.export.export`, of each argument."""
    return tuple({0: Dim.DYNAMIC} if varies else None for _, varies in _arguments(stretch.example))


def _one(spec: TrainSpec, pure: PureStep, example: Example, size: int, *, is_last: bool) -> _One:
    inputs, noisy, idle = len(example.rows.inputs), len(example.uniforms), _idle(example)

    def step(*given: Tensor) -> Flat:
        rest = list(given)
        numbers = {name: rest.pop(0) for name in example.names}
        uniforms = [rest.pop(0) for _ in range(noisy)]
        of_rows = [rest.pop(0) for _ in range(_width(example.rows))]
        rows = Part(tuple(of_rows[:inputs]), of_rows[inputs], *of_rows[inputs + 1 :])
        fixed = {name: rest.pop(0) for name in idle}
        return _taken(spec, pure, example, (numbers, rows, uniforms), fixed, rest, is_observed=is_last)

    numbers = [torch.tensor(0.1, dtype=torch.float64) for _ in example.names]
    uniforms = [torch.rand(size, *shape) for shape in example.uniforms]
    some = _rows(_leaves(example.rows), torch.arange(size))
    graph = traced(step, *numbers, *uniforms, *some, *idle.values(), *example.layout.pack(example.standing))
    for name, tensor in graph.named_buffers():
        if tensor.numel() > 1:
            raise ValueError(f"the step is no function of its arguments alone: {name} of {tuple(tensor.shape)}")
    _take_biases_apart(graph)
    return _One(graph, size)


def _take_biases_apart(graph: torch.fx.GraphModule) -> None:
    """From addmm(b, x, w) to xw - (-b): the same numbers, and the compiler joins the difference with what follows.

    addmm copies the bias to every row first, which takes as long as the product of small matrices; a sum it would make
    an addmm again.
    """
    aten = torch.ops.aten
    for node in list(graph.graph.nodes):
        if node.target is not aten.addmm.default or node.kwargs or node.args[0].meta["val"].ndim != 1:
            continue
        bias, first, second = node.args
        with graph.graph.inserting_before(node):
            product = graph.graph.call_function(aten.mm.default, (first, second))
            negative = graph.graph.call_function(aten.neg.default, (bias,))
            difference = graph.graph.call_function(aten.sub.Tensor, (product, negative))
        node.replace_all_uses_with(difference)
        graph.graph.erase_node(node)
    graph.recompile()


def _taken(
    spec: TrainSpec,
    pure: PureStep,
    example: Example,
    seen: tuple[dict[str, Tensor], Part, list[Tensor]],
    fixed: dict[str, Tensor],
    packed: list[Tensor],
    *,
    is_observed: bool,
) -> Flat:
    """`PureStep.__call__` on vectors."""
    layout, (numbers, rows, uniforms) = example.layout, seen
    views, moments, buffers = layout.views(packed)
    leaves = {name: view.detach().requires_grad_() for name, view in views.items()}
    told = pure.told(fixed | leaves, buffers, numbers, rows, uniforms)
    names = [name for group in layout.groups for name in group.names]
    found = torch.autograd.grad(told.total, [leaves[name] for name in names])
    ledger = None
    if is_observed and example.is_observed:
        ledger = pure.observed(fixed | leaves, buffers, numbers, rows, uniforms)
    with torch.no_grad():
        gradients, norm = pure.clipped(dict(zip(names, found, strict=True)))
        after: list[Tensor] = []
        for group, kept, vector in zip(layout.groups, moments, layout.vectors(packed), strict=True):
            given = {name: value for name, value in numbers.items() if group.decays or name != "weight_decay"}
            update = UPDATES[spec.optimizer.kind]
            moved, moments_after = update(spec.optimizer, vector, joined_gradient(group, gradients), kept, given)
            after += [moved, *(moments_after[name] for name in layout.moments)]
        sums_P = pure.with_norm(told.sums.detach(), norm)
        followed = pure.followed()
        if followed is not None:
            sums_P = torch.cat([sums_P[:-1], (followed.double() * sums_P[-1]).reshape(1), sums_P[-1:]])
    return (sums_P, *(() if ledger is None else (ledger.double(),)), *after, *told.buffers.values())


def _idle(example: Example) -> dict[str, Tensor]:
    moved = {name for group in example.layout.groups for name in group.names}
    return {name: tensor for name, tensor in example.standing.trained.items() if name not in moved}


def _leaves(rows: Part) -> list[Tensor]:
    return [*rows.inputs, rows.target, *(() if rows.weight is None else (rows.weight,))]


def _width(rows: Part) -> int:
    return len(_leaves(rows))


def _rows(tensors: Sequence[Tensor], order_B: Tensor) -> list[Tensor]:
    return [tensor.index_select(0, order_B) for tensor in tensors]


def _numbers(numbers_CQ: Tensor, at: Tensor) -> Any:
    return numbers_CQ.index_select(0, at).squeeze(0).unbind(0)
