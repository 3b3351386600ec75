"""From a run to the program of its steps: what is compiled, and what tells one program from another."""

# B examples of a batch, N training rows

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import softreg_core
from softreg_core.data.part import Part
from softreg_core.engine.program.numbers import number_names, numbers_at, structure_of
from softreg_core.engine.program.step import PureStep, standing_of
from softreg_core.engine.program.updates import biases
from softreg_core.engine.tiers.advance import Job
from softreg_core.engine.tiers.layout import layout_of
from softreg_core.engine.tiers.stretch import Example

__all__ = ["Plan", "key_of_program", "plan_of"]


class Plan(NamedTuple):
    """A run's step, ready to be compiled."""

    is_unrolled: bool
    """A recurrent network becomes one operation after the other, for each step of a sequence."""
    pure: PureStep
    example: Example

    @property
    def size(self) -> int:
        """What compiling takes grows with it: tensors that are trained, times the steps of what is unrolled."""
        inputs = self.example.rows.inputs[0]
        unrolled = inputs.shape[1] if self.is_unrolled and inputs.ndim > 1 else 1
        return len(self.example.standing.trained) * int(unrolled)


def plan_of(job: Job) -> Plan:
    """What is to be compiled for a run; takes one pass over a batch.

    Raises:
        ValueError: the layers that drop draw other shapes than a batch has.
        TypeError: the rows lie on disk.
    """
    spec, stepper = job.spec, job.stepper
    if not isinstance(job.rows, Part):
        raise TypeError("rows that are read from disk come batch by batch")
    rows = _weighed(job, job.rows)
    pure = PureStep(spec, stepper.objective, has_weighed_rows=True)
    batch = rows.take(slice(0, job.batch_size))
    shapes = pure.drawn(batch)
    if any(shape[:1] != (batch.rows,) for shape in shapes):
        raise ValueError("what its layers drop is not dropped row by row")
    standing = standing_of(stepper)
    given = numbers_at(spec, job.rates, job.step, job.total_steps)
    numbers = {name: torch.tensor(value, dtype=torch.float64) for name, value in given.items()}
    reached = pure.reached(standing, numbers, batch, [torch.rand(shape) for shape in shapes])
    last = rows.rows - (job.steps_per_epoch - 1) * job.batch_size
    is_observed = spec.training.gradient_terms == "epoch" and "alpha" in given
    has_last = is_observed or last != job.batch_size
    more = ["gradient_norm"] if spec.training.gradient_clip is not None else []
    more += ["sigma2"] if pure.followed() is not None else []
    example = Example(
        standing,
        layout_of(spec.optimizer, standing, reached, has_decay="weight_decay" in given),
        (*number_names(spec), *biases(spec.optimizer, np.ones(1))),
        rows,
        full=0 if has_last and job.steps_per_epoch == 1 else job.batch_size,
        last=last if has_last else 0,
        uniforms=tuple(tuple(shape[1:]) for shape in shapes),
        is_observed=is_observed,
        series=(*pure.series[:-1], *more, "weight"),
    )
    return Plan(spec.net.kind == "rnn", pure, example)


def _weighed(job: Job, rows: Part) -> Part:
    """With the weights of classes in the rows' own: they are numbers of the data, and no part of a program."""
    weight = job.stepper.objective.weight(rows)
    return Part(rows.inputs, rows.target, None if weight is None else weight.contiguous())


def key_of_program(job: Job, plan: Plan, compiler: str) -> str:
    """The same for runs that one program serves, on one machine with one version of everything; hexadecimal.

    Args:
        job: of the plan.
        plan: what would be compiled.
        compiler: version of the compiler of C++.
    """
    example, spec = plan.example, job.spec
    view = spec.task.input
    tensors: dict[str, Mapping[Any, Tensor]] = {
        "trained": example.standing.trained,
        "buffers": example.standing.buffers,
        "rows": dict(enumerate([*example.rows.inputs, example.rows.target])),
    }
    facts = {
        "step": structure_of(spec),
        "input": view if isinstance(view, str) else view.model_dump(mode="json"),
        "net": str(job.stepper.net),
        "tensors": {name: {str(n): _form(t, name) for n, t in of.items()} for name, of in tensors.items()},
        "weighed": example.rows.weight is not None,
        "layout": [list(group.names) for group in example.layout.groups],
        "batches": [example.full, example.last, example.is_observed, example.uniforms, example.series],
        "threads": torch.get_num_threads(),
        "device": job.device.type,
        "torch": [str(torch.__version__), str(torch.backends.cpu.get_cpu_capability())],
        "machine": _machine(),
        "compiler": compiler,
        "sources": _sources(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _form(tensor: Tensor, of: str) -> list[Any]:
    shape = list(tensor.shape[1:] if of == "rows" else tensor.shape)
    return [*shape, str(tensor.dtype)]


@lru_cache(maxsize=1)
def _machine() -> str:
    """A program has instructions of the processor that it was compiled on; a cache may lie on a shared disk."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.exists() else [platform.processor()]
    told = [line for line in lines if line.startswith(("flags", "Features", "model name"))][:2]
    return hashlib.sha256("\n".join([platform.machine(), *told]).encode()).hexdigest()


@lru_cache(maxsize=1)
def _sources() -> str:
    """Of this package: another version of it never runs this one's programs."""
    root = Path(softreg_core.__file__).parent
    sha = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        sha.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return sha.hexdigest()
