"""A trained model as one function of tensors: preprocessing, network, and what its outputs mean."""

# B rows of a batch, D columns of numbers, C outputs, T steps of the longest row

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from softreg_core.data.encode import ImageEncoding
from softreg_core.data.preprocessing import Scaling
from softreg_core.export.document import ModelDocument
from softreg_core.export.meaning import output_names
from softreg_core.keyed import stream_of
from softreg_core.losses import Loss
from softreg_core.spec.inputs import ImageShape, InputShape, SequenceShape, SoundShape, TableShape, TextShape

__all__ = ["ExportGraph", "dynamic_axes", "example_inputs"]

# Axes that a caller chooses; the names stand in the ONNX file.
_TIMED = ("values", "tokens", "waveform")
_SPREAD = 1.5


class ExportGraph(nn.Module):
    """From the user's numbers to probabilities, scores or values.

    Inputs are those of `softreg_core.spec.inputs`, with one difference: `numbers` are float64 and in the user's units.
    A column around 1e9 that varies by 1 would lose everything in float32 before its mean is taken off.
    """

    def __init__(self, document: ModelDocument, net: nn.Module, loss: Loss[Any]) -> None:
        super().__init__()
        self.net = net
        self.loss = loss
        self._meaning = output_names(document)[0]
        self._is_multilabel = document.task == "multilabel"
        self._has_numbers = "numbers" in document.shape.names
        if self._has_numbers:
            self._register("feature", document.features.scaling())
        if document.target is not None:
            self._register("target", document.target.scaling())

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What `output_names` says, each (B, C): `probabilities` and `scores` float32, `values` float64.

        Values are in the user's units, and so is `variance`, in their square.
        """
        if self._has_numbers:
            scaled_BD = (inputs[0] - self.feature_mean) / self.feature_scale
            inputs = (scaled_BD.to(torch.float32), *inputs[1:])
        prediction_BC, variance_BC = self.loss.split(self.net(*inputs))
        variances = () if variance_BC is None else (self._in_units(self.loss.predictive_variance(variance_BC)),)
        if self._meaning == "probabilities":
            by_itself = torch.sigmoid(prediction_BC) if self._is_multilabel else torch.softmax(prediction_BC, dim=1)
            return by_itself, *variances
        if self._meaning in ("values", "predictions"):
            values_BC = self.loss.values(prediction_BC).to(torch.float64)
            return values_BC * self.target_scale + self.target_mean, *variances
        return prediction_BC, *variances

    def _in_units(self, variance_BC: Tensor) -> Tensor:
        wide_BC = variance_BC.to(torch.float64)
        return wide_BC * self.target_scale.square() if self._meaning in ("values", "predictions") else wide_BC

    def _register(self, name: str, scaling: Scaling) -> None:
        self.register_buffer(f"{name}_mean", torch.from_numpy(scaling.mean))
        self.register_buffer(f"{name}_scale", torch.from_numpy(scaling.scale))

    feature_mean: Tensor
    feature_scale: Tensor
    target_mean: Tensor
    target_scale: Tensor


def dynamic_axes(shape: InputShape) -> dict[str, dict[int, str]]:
    """For each input the axes whose size the caller chooses."""
    return {name: {0: "batch", **({1: "time"} if name in _TIMED else {})} for name in shape.names}


def example_inputs(document: ModelDocument, rows: int, time: int) -> tuple[Tensor, ...]:
    """Rows such as the training data may have held, made from its statistics; the same for the same arguments.

    Args:
        document: of the model.
        rows: B.
        time: T, for what has a length; the first row is that long, the others are shorter.
    """
    random = np.random.Generator(stream_of(document.spec.training.seed, "example", rows, time))
    lengths = np.concatenate([[time], random.integers(1, time + 1, rows - 1)]).astype(np.int64)
    match document.shape:
        case TableShape() as shape:
            made = _table(document, shape, random, rows)
        case ImageShape() as shape:
            made = [_pixels(document, random, (rows, shape.channels, shape.height, shape.width))]
        case SequenceShape() as shape:
            values = _like_training(document, random.normal(scale=_SPREAD, size=(rows, time, shape.channels)))
            made = [_padded(values.astype(np.float32), lengths), lengths]
        case TextShape() as shape:
            tokens = random.integers(min(1, shape.vocabulary - 1), shape.vocabulary, (rows, time))
            made = [_padded(tokens, lengths), lengths]
        case SoundShape():
            waveform = random.uniform(-1.0, 1.0, (rows, time)).astype(np.float32)
            made = [_padded(waveform, lengths), lengths]
    return tuple(torch.from_numpy(array) for array in made)


def _table(document: ModelDocument, shape: TableShape, random: np.random.Generator, rows: int) -> list[NDArray[Any]]:
    made: list[NDArray[Any]] = []
    if shape.numbers:
        features = document.features.scaling()
        made.append(features.mean + features.scale * random.normal(scale=_SPREAD, size=(rows, shape.numbers)))
    if shape.levels:
        made.append(np.stack([random.integers(0, count, rows) for count in shape.levels], axis=1))
    return made


def _pixels(document: ModelDocument, random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    if isinstance(document.inputs, ImageEncoding) and document.inputs.pixels == "float32":
        drawn = random.normal(scale=_SPREAD, size=(shape[0], *shape[2:], shape[1]))
        return np.moveaxis(_like_training(document, drawn), -1, 1).astype(np.float32)
    return random.integers(0, 256, shape, dtype=np.uint8)


def _like_training(document: ModelDocument, drawn: NDArray[Any]) -> NDArray[Any]:
    """With the training data's mean and deviation; its values are on the last axis."""
    statistics = None if document.inputs is None else document.inputs.statistics
    return drawn if statistics is None else drawn * statistics["std"] + statistics["mean"]


def _padded(array: NDArray[Any], lengths: NDArray[np.int64]) -> NDArray[Any]:
    """Zeros from each row's end on."""
    is_there = np.arange(array.shape[1]) < lengths[:, np.newaxis]
    is_there = is_there.reshape(is_there.shape + (1,) * (array.ndim - 2))
    return np.where(is_there, array, array.dtype.type(0))
