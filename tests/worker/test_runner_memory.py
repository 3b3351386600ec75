"""What a job is told whose network does not fit memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

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
