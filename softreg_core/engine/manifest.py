"""What the claim of equal bits holds for, written into every model; and the switches that it needs on CUDA."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.utils.deterministic

from softreg_core.engine.tiers.advance import Chosen, Tier
from softreg_core.engine.weights import Precision

__all__ = ["Manifest", "deterministic", "manifest_of"]

_ELSEWHERE = "another build of torch, processor or number of threads"
_OTHER_TIER = "another tier: with engine 'auto' the speed of the machine has a say in which one it is"
_ON_CUDA = (
    "operations for which torch has no deterministic algorithm on CUDA; it warns of each",
    "another model of GPU, driver or CUDA library",
)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The same spec and data give the same bits, interrupted or not, where all of this is the same."""

    torch: str
    """Version with build."""
    device: str
    """`cpu`, or the model of the GPU."""
    processor: str
    """The instruction set that torch uses on the CPU, as AVX2."""
    cuda: str | None
    threads: int
    precision: Precision
    tier: Tier
    """How steps are executed."""
    tier_reason: str
    """Why, in words."""
    pack: tuple[str, ...]
    """Other runs that are computed in the same operations: SHA-256 of their specs; of a run alone none."""
    order: str
    """How rows are visited, in words: it is another for rows on disk."""
    is_deterministic: bool
    """Torch was told to use deterministic algorithms only, or there are no others, as on the CPU."""
    not_claimed: tuple[str, ...]
    """Where the bits may differ."""
    parts: int = 1
    """In how many a batch went through the network at last: more than the spec asks for where memory ran out."""


def manifest_of(device: torch.device, precision: Precision, order: str, chosen: Chosen) -> Manifest:
    """Of a run that is about to begin, inside of `deterministic` and with its threads set."""
    is_cuda = device.type == "cuda"
    return Manifest(
        torch=str(torch.__version__),
        device=torch.cuda.get_device_name(device) if is_cuda else device.type,
        processor=str(torch.backends.cpu.get_cpu_capability()),
        cuda=torch.version.cuda if is_cuda else None,
        threads=torch.get_num_threads(),
        precision=precision,
        tier=chosen.tier,
        tier_reason=chosen.reason,
        pack=(),
        order=order,
        is_deterministic=not is_cuda or torch.are_deterministic_algorithms_enabled(),
        not_claimed=(_ELSEWHERE, _OTHER_TIER, *(_ON_CUDA if is_cuda else ())),
    )


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Deterministic algorithms on CUDA for a run, and what was set before after it; nothing on a CPU.

    Torch warns where it has none, and goes on: a job on a rare operation is worth more than none, and the manifest
    claims no bits for it.
    """
    if device.type != "cuda":
        yield
        return
    # Read once, when cuBLAS starts in this process: with it, its sums have one order.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    was_on, was_warning = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    was_benchmarked = torch.backends.cudnn.benchmark
    memory: Any = torch.utils.deterministic  # whose attribute is no module's, to a type checker
    was_filling = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    # One kernel more for every tensor; nothing here reads what it has not written.
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was_on, warn_only=was_warning)
        torch.backends.cudnn.benchmark = was_benchmarked
        memory.fill_uninitialized_memory = was_filling
