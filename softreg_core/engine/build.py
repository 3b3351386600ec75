"""From a spec and prepared data to what a run takes its steps with."""

# K classes

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from softreg_core.data.part import Part
from softreg_core.data.streamed import StreamedPart
from softreg_core.data.tabular import PreparedData
from softreg_core.engine.batches import Batches, batches_of
from softreg_core.engine.rates import Rates
from softreg_core.engine.step.beside import Teacher, build_beside
from softreg_core.engine.step.stepper import Stepper
from softreg_core.engine.weights import Precision, class_weight, in_dtype, precision_of
from softreg_core.errors import DataError
from softreg_core.losses import DataMeta, build_loss, target_variance
from softreg_core.nets import build_net
from softreg_core.spec.estimate import rows_of_batch
from softreg_core.spec.net_fit import misfit_of_batches
from softreg_core.spec.train import TrainSpec

__all__ = ["build_batches", "build_stepper", "laid_out"]


def build_batches(spec: TrainSpec, train: Part | StreamedPart) -> Batches:
    """The batches of the training rows.

    Raises:
        DataError: the network cannot be trained on batches of such sizes.
    """
    batch_size = rows_of_batch(spec.training.batch_size, train.rows)
    misfit = misfit_of_batches(spec.net, train.rows, batch_size)
    if misfit is not None:  # what `resolve` did not see: rows that stay together change the sizes a little
        raise DataError(misfit, "batch_of_one")
    return batches_of(train, batch_size, spec.training.seed)


def laid_out(net: nn.Module) -> nn.Module:
    """The network itself; weights of convolutions with the channels of a place side by side in memory.

    A convolution then takes and gives maps of that layout, which its kernels work in anyway: measured at 0.8 of the
    time on a CPU, and what tensor cores need. Shapes and numbers are the same, and stored tensors have the usual order.
    """
    is_of_maps = any(isinstance(module, nn.Conv2d) and module.weight.dtype == torch.float32 for module in net.modules())
    return net.to(memory_format=torch.channels_last) if is_of_maps else net  # type: ignore[call-overload]


def build_stepper(
    spec: TrainSpec,
    data: PreparedData,
    rates: Rates,
    total_steps: int,
    device: torch.device,
    teacher: Teacher | None = None,
    dtype: torch.dtype = torch.float32,
) -> tuple[Stepper, Precision]:
    """A network, its loss, its optimiser, and what stands beside them; and the precision of the network's products."""
    preprocessing = data.preprocessing
    variance = target_variance(data.train.target, preprocessing.outputs, data.train.weight)
    data_meta = DataMeta(preprocessing.outputs, preprocessing.task, total_steps, variance, are_targets_checked=True)
    loss = in_dtype(build_loss(spec.loss, data_meta).to(device), dtype)
    width = preprocessing.outputs + loss.extra_outputs
    shape, statistics = preprocessing.shape, preprocessing.statistics
    net = laid_out(in_dtype(build_net(spec.net, shape, width, spec.training.seed, statistics).to(device), dtype))
    labels = preprocessing.labels if preprocessing.task == "classification" else None
    weight_K = class_weight(spec.training.class_weights, labels, data.train.target)
    precision = precision_of(spec.training.precision, net, device, dtype)
    teach = None if teacher is None else partial(teacher.teach, preprocessing, spec.loss.base, device)
    stepper = Stepper(
        spec,
        net,
        loss,
        rates,
        build_beside(spec, net, teach),
        class_weight=None if weight_K is None else weight_K.to(device, dtype),
        is_half=precision == "bfloat16",
    )
    return stepper, precision
