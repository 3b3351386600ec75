"""A runner whose device breaks when a test asks for it; with `fake`, its CUDA device is the CPU.

    python runner_program.py fake|real START

A job whose seed is BREAKS_ONCE ends in a CUDA error at its first attempt. A device is in error for as long as there is
a file `broken-<CUDA_VISIBLE_DEVICES>` beside the worker's directory, which the runner works in.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from softreg_core import engine
from worker import runner

BREAKS_ONCE = 4242
MODE = sys.argv.pop(1)
_train, _settle = engine.train, runner.settle
_broken = Path("..") / f"broken-{os.environ['CUDA_VISIBLE_DEVICES'] or 'cpu'}"
_error = getattr(torch, "AcceleratorError", RuntimeError)


def settle(device):
    """What a device in error answers to everything."""
    if _broken.exists():
        raise _error("CUDA error: uncorrectable ECC error encountered")
    if MODE == "real":
        _settle(device)


def train(spec, data, *, device, **more):
    """Train where the device is, or is said to be."""
    if device != "cpu" and device != "cuda:0":
        raise AssertionError(f"a runner has one device, and was told {device}")
    mark = Path(f"{spec.training.seed}-broke")
    if spec.training.seed == BREAKS_ONCE and not mark.exists():
        mark.touch()
        if MODE == "real":
            torch.zeros(1, device=device)[torch.tensor([7], device=device)].cpu()
        raise _error("CUDA error: an illegal memory access was encountered")
    for event in _train(spec, data, device=device if MODE == "real" else "cpu", **more):
        settle(device)
        yield event


runner.settle, engine.train = settle, train

if __name__ == "__main__":
    runner.main()
