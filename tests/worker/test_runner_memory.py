"""What a job is told whose network does not fit memory."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from softreg_core.errors import DataError, is_out_of_memory
from worker import runner
from worker.protocol import RunnerStart, decode
from worker.runner import Runner

START = RunnerStart(parent=0, device="cpu", threads=1, data_bytes=0)


@pytest.mark.parametrize("allocate", [torch.empty, np.empty])
def test_memory_that_runs_out_fails_the_job_and_not_the_runner(allocate: Any) -> None:
    def work() -> Iterator[tuple[str, dict[str, Any]]]:
        yield "progress", {"size": len(allocate(10**14))}

    replies = io.BytesIO()
    Runner(START, io.BytesIO(), replies)._answer(work())
    message = decode(replies.getvalue())
    assert message["type"] == "failed"
    assert message["error"]["code"] == "resource_exhausted"


def test_another_fault_still_ends_the_runner() -> None:
    def work() -> Iterator[tuple[str, dict[str, Any]]]:
        raise RuntimeError("a fault of ours")
        yield

    with pytest.raises(RuntimeError, match="a fault of ours"):
        Runner(START, io.BytesIO(), io.BytesIO())._answer(work())


HEAVY = (
    "PIL",
    "matplotlib",
    "onnx",
    "onnxscript",
    "pandas",
    "pyarrow",
    "scipy.signal",
    "sklearn",
    "sympy",
    "torch._dynamo",
)
FIRST_JOB = f"""
import sys
import torch
from softreg_core import export
from softreg_core.data.arrays import table_from_arrays
from softreg_core.data.tabular import prepare
from softreg_core.engine import fit
from softreg_core.spec import TrainSpec, resolve
from worker.runner import spare_the_compiler

spare_the_compiler()
table = table_from_arrays(torch.eye(12).numpy(), [0, 1] * 6)
for kind in ("adam", "adamw", "sgd", "rmsprop", "adagrad", "muon"):
    document = {{"training": {{"epochs": 2}}, "optimizer": {{"kind": kind}}, "split": {{"stratify": False}}}}
    spec = resolve(TrainSpec.model_validate(document), table.report).spec
    fit(spec, prepare(spec, table))
print([name for name in {HEAVY!r} if name in sys.modules])
"""


def test_a_job_imports_nothing_that_costs_a_runner_seconds_and_memory_for_little(root: Path) -> None:
    outcome = subprocess.run([sys.executable, "-c", FIRST_JOB], cwd=root, capture_output=True, text=True, check=False)
    assert outcome.stdout.strip() == "[]", outcome.stdout + outcome.stderr


def test_a_device_that_breaks_is_not_the_next_jobs_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> Iterator[tuple[str, dict[str, Any]]]:
        yield "progress", {}
        raise DataError("a fault of the user's")

    def settle(device: str) -> None:
        assert device == "cuda:0"
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(runner, "settle", settle)
    replies = io.BytesIO()
    start = RunnerStart(parent=0, device="cuda:0", threads=1, data_bytes=0)
    # Not told as the user's error: the process ends, and the job is tried again in another one.
    with pytest.raises(RuntimeError, match="device-side assert"):
        runner.Runner(start, io.BytesIO(), replies)._answer(work())
    assert [decode(line)["type"] for line in replies.getvalue().splitlines()] == ["progress"]


@pytest.mark.parametrize(
    "message",
    ["CUDA error: out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"],
)
def test_memory_of_a_device_runs_out_in_many_words(message: str) -> None:
    assert is_out_of_memory(RuntimeError(message))
    assert not is_out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))
