"""What is done before the network and after it, learned of the training rows and stored with the model; NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from softreg_core.data.encode import Encoding, TableEncoding
from softreg_core.data.scaling import Scaling
from softreg_core.spec.inputs import InputShape

__all__ = ["Preprocessing", "Scaling"]


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """From the user's cells to the network's tensors, and from its outputs back."""

    inputs: Encoding
    target_names: tuple[str, ...]
    target: Scaling | None
    """None for classes and labels."""
    labels: tuple[str, ...] | None
    """Class labels in code order; for multilabel the labels' names; None for regression."""
    truths: tuple[tuple[str, str], ...] | None = None
    """For multilabel: how each label's target column spells false and true."""

    @property
    def features(self) -> Scaling:
        """Of the columns of numbers; of other kinds there are none."""
        return self.inputs.scaling if isinstance(self.inputs, TableEncoding) else Scaling.none(())

    @property
    def task(self) -> Literal["classification", "multilabel", "regression"]:
        """What is predicted."""
        if self.truths is not None:
            return "multilabel"
        return "regression" if self.labels is None else "classification"

    @property
    def shape(self) -> InputShape:
        """What the network takes."""
        return self.inputs.shape

    @property
    def statistics(self) -> dict[str, NDArray[np.float64]] | None:
        """What the network normalises images, sequences and sounds by; for `build_net`."""
        return self.inputs.statistics

    @property
    def outputs(self) -> int:
        """Width of the network's output."""
        return len(self.target_names) if self.labels is None else len(self.labels)
