"""Whether the network takes what the data gives it."""

from __future__ import annotations

from softreg_core.spec.estimate import rows_of_batch
from softreg_core.spec.inputs import InputShape
from softreg_core.spec.net_fit import misfit_of_bands, misfit_of_batches, misfit_of_net
from softreg_core.spec.resolve.findings import Findings
from softreg_core.spec.split import SplitSizes
from softreg_core.spec.train import TrainSpec

__all__ = ["check_network"]


def check_network(spec: TrainSpec, shape: InputShape, sizes: SplitSizes, findings: Findings) -> None:
    """The network against the kind and sizes of its inputs, and against the rows of its batches."""
    misfit = misfit_of_net(spec.net, shape)
    if misfit is not None:
        findings.refuse("/net/kind" if misfit != misfit_of_bands(shape) else "/task/input/mels", misfit)
    misfit = misfit_of_batches(spec.net, sizes.train, rows_of_batch(spec.training.batch_size, sizes.train))
    if misfit is not None:
        findings.refuse("/training/batch_size", misfit)
