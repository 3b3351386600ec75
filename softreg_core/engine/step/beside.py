"""What a loss is given besides a prediction: a teacher's outputs, or the prediction of a second pass."""

# B examples of a batch, C outputs

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from softreg_core.data.preprocessing import Preprocessing
from softreg_core.engine.step.average import Average
from softreg_core.errors import Problem, SpecError
from softreg_core.nets.noise import has_noise
from softreg_core.spec.bases import BaseSpec
from softreg_core.spec.beside import teacher_of, twin_of
from softreg_core.spec.train import TrainSpec

__all__ = ["Beside", "EmaTeacher", "GivenTeacher", "Teach", "Teacher", "build_beside"]

Inputs = tuple[Tensor, ...]
Teach = Callable[[Inputs], Tensor]
"""From the inputs of this run's network to a teacher's outputs, (B, C), in the units of this run's targets."""


class Teacher(Protocol):
    """A finished model, such as `softreg_core.load` gives."""

    def teach(self, preprocessing: Preprocessing, base: BaseSpec, device: torch.device) -> Teach:
        """Its outputs for inputs that were prepared by `preprocessing`.

        Raises:
            DataError: the model has other outputs than are learned here, or needs inputs that are not there.
        """


class Beside(Protocol):
    """What stands beside the network at every step; it has no parameters that are trained."""

    name: str
    """The argument of the loss: `teacher` or `second`."""

    def __call__(self, inputs: Inputs, again: Callable[[], Tensor]) -> Tensor:
        """(B, C), for the inputs of a batch; `again` is a second pass over them, with other masks."""

    def update(self) -> None:
        """A step was taken."""

    def tensors(self) -> dict[str, Tensor]:
        """What changes from step to step, by name."""

    def numbers(self) -> dict[str, float]:
        """Counters that go with them."""

    def put(self, tensors: dict[str, Tensor], numbers: dict[str, float]) -> None:
        """Go on from what `tensors` and `numbers` gave."""


class _Stateless:
    """Nothing changes from step to step."""

    def update(self) -> None: ...

    def tensors(self) -> dict[str, Tensor]:
        return {}

    def numbers(self) -> dict[str, float]:
        return {}

    def put(self, tensors: dict[str, Tensor], numbers: dict[str, float]) -> None: ...


class SecondPass(_Stateless):
    """The network's own second pass."""

    name = "second"

    def __call__(self, inputs: Inputs, again: Callable[[], Tensor]) -> Tensor:  # noqa: ARG002  the pass has them
        """(B, C)."""
        return again()


class GivenTeacher(_Stateless):
    """A finished model. It is asked at each step for the rows of the batch, as the network sees them: what augments or
    disturbs the rows does so for both, and rows that are read from disk need no second store.
    """

    name = "teacher"

    def __init__(self, teach: Teach) -> None:
        self._teach = teach

    @torch.no_grad()
    def __call__(self, inputs: Inputs, again: Callable[[], Tensor]) -> Tensor:  # noqa: ARG002  one pass is enough
        """(B, C)."""
        return self._teach(inputs)


class EmaTeacher:
    """The moving average of the run's own weights, as they were before the step; it drops nothing."""

    name = "teacher"

    def __init__(self, net: nn.Module, decay: float) -> None:
        self._average = Average(net, decay)
        self._average.net.eval()

    @torch.no_grad()
    def __call__(self, inputs: Inputs, again: Callable[[], Tensor]) -> Tensor:  # noqa: ARG002  one pass is enough
        """(B, C)."""
        prediction: Tensor = self._average.net(*inputs)
        return prediction

    def update(self) -> None:
        """A step was taken."""
        self._average.update()

    def tensors(self) -> dict[str, Tensor]:
        """The average's, by name."""
        return self._average.tensors(self.name)

    def numbers(self) -> dict[str, float]:
        """How many steps are in it."""
        return self._average.numbers(self.name)

    def put(self, tensors: dict[str, Tensor], numbers: dict[str, float]) -> None:
        """Go on from a captured state.

        Raises:
            DataError: it is another network's.
        """
        self._average.put(self.name, tensors, numbers)


def build_beside(spec: TrainSpec, net: nn.Module, teach: Callable[[], Teach] | None) -> Beside | None:
    """What the spec's loss needs at every step; None for most.

    Args:
        spec: resolved.
        net: the network, on its device.
        teach: gives the teacher where it is a finished model; asked only when the loss needs one.

    Raises:
        DataError: the teacher has other outputs or inputs.
        SpecError: a teacher is needed and not there, or there and not needed; or two passes would be the same.
    """
    teacher, twin = teacher_of(spec.loss), twin_of(spec.loss)
    is_given = teacher is not None and teacher.source.kind == "model"
    if is_given != (teach is not None):
        reason = "the loss needs a model as its teacher" if is_given else "a teacher was given, and the loss has none"
        raise SpecError(reason, [Problem("/loss/divergence", reason)])
    if teach is not None:
        return GivenTeacher(teach())
    if teacher is not None and teacher.source.kind == "ema":
        return EmaTeacher(net, teacher.source.decay)
    if twin is None:
        return None
    if not has_noise(net):
        reason = "twin compares two passes with other dropout masks, and this network has none"
        raise SpecError(reason, [Problem("/loss/divergence", reason)])
    return SecondPass()
