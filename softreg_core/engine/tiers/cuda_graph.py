"""A step that a GPU has recorded: launched whole, without Python and without a launch for each operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["Record", "kept", "record"]

Record = Callable[[Callable[[], None], Callable[[], None]], Callable[[], None]]
"""From something that works on tensors that stay where they are to the same, recorded; may do it a few times, each time
after a call of the second, which puts back what counts on."""

# Kernels are chosen, workspaces are taken and modules are loaded in the first calls: none of that can be recorded.
_WARM_UPS = 3


def record(
    work: Callable[[], None], back: Callable[[], None], device: torch.device | None = None
) -> Callable[[], None]:
    """By CUDA; see `Record`.

    Args:
        work: is recorded.
        back: see `Record`.
        device: that works; the current one when not given.

    Raises:
        RuntimeError: something in it cannot be recorded, as a look at a value.
    """
    with torch.cuda.device(device):
        return _recorded(work, back)


def _recorded(work: Callable[[], None], back: Callable[[], None]) -> Callable[[], None]:
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            back()
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, stream=stream):
            work()
    finally:
        torch.cuda.synchronize()
    return graph.replay


@contextmanager
def kept(tensors: Sequence[Tensor]) -> Iterator[None]:
    """What tensors hold is afterwards what it was."""
    before = [tensor.detach().clone() for tensor in tensors]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, before, strict=True):
                tensor.copy_(value)
