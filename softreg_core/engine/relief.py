"""What is done when memory runs out in a step: once, its batch is taken again in twice as many parts."""

from __future__ import annotations

import torch

from softreg_core.errors import ResourceError, is_out_of_memory
from softreg_core.spec.advice import Advice
from softreg_core.spec.resolve.controls import coupling
from softreg_core.spec.train import TrainSpec

__all__ = ["Relief"]


class Relief:
    """Knows in how many parts a batch goes through the network, and whether more of them may still help.

    Only where the gradient of a batch is the mean of its examples' own: parts of it then give the same step.
    """

    def __init__(self, spec: TrainSpec) -> None:
        self._asked = spec.training.accumulate
        self._coupling = coupling(spec)
        self.parts = self._asked
        self._untold: list[Advice] = []

    def seek(self, error: BaseException, rows: int, step: int) -> None:
        """Have the step taken again in twice as many parts; `free` is to be called before.

        Args:
            error: of the step, which updated nothing.
            rows: of its batch.
            step: optimiser steps done.

        Raises:
            ResourceError: memory ran out, and there is nothing left to try.
            BaseException: `error` itself, where it is another one.
        """
        if not is_out_of_memory(error):
            raise error
        why = self._why_not(rows)
        if why is not None:
            raise ResourceError(
                f"out of memory at step {step + 1}, in a batch of {rows} rows in {_parts(self.parts)}; {why}: "
                f"{str(error)[:300]}"
            ) from error
        self.parts *= 2
        message = (
            f"memory ran out at step {step + 1} in a batch of {rows} rows; from then on batches went through the "
            f"network in {_parts(self.parts)}, as training.accumulate {self.parts} does"
        )
        self._untold.append(Advice("out_of_memory", "/training/batch_size", message))

    def free(self, device: torch.device) -> None:
        """Give back what torch keeps for later; outside of the clause that caught the error, which holds tensors."""
        if device.type == "cuda":
            torch.cuda.empty_cache()

    def take_advice(self) -> tuple[Advice, ...]:
        """What has not been told yet."""
        untold, self._untold = self._untold, []
        return tuple(untold)

    def numbers(self) -> dict[str, float]:
        """For a checkpoint; nothing of most runs."""
        return {"relief/parts": float(self.parts)} if self.parts != self._asked else {}

    def restore(self, numbers: dict[str, float]) -> None:
        """What `numbers` gave."""
        self.parts = int(numbers.get("relief/parts", self._asked))

    def _why_not(self, rows: int) -> str | None:
        if self.parts != self._asked:
            return "halving its parts did not help"
        if self._coupling is not None:
            return f"it cannot be taken in parts, because {self._coupling}"
        return "a part has one row already" if 2 * self.parts > rows else None


def _parts(count: int) -> str:
    return "one part" if count == 1 else f"{count} parts"
