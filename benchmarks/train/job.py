"""The article's job: the sample digits, prepared as the engine prepares them, for every side; and its last weights."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.train.harness import ALPHA, EPSILON, Job, Weights
from softreg_core.data.part import Part
from softreg_core.data.sample import load_sample
from softreg_core.data.table import Table
from softreg_core.data.tabular import PreparedData, prepare
from softreg_core.engine.order import epoch_order
from softreg_core.nets import build_net
from softreg_core.spec import TrainSpec, resolve
from softreg_core.spec.presets import article_section_4

__all__ = ["Outcome", "article", "make_job", "measure"]


def article(epochs: int, **changes: dict[str, Any]) -> tuple[TrainSpec, PreparedData]:
    """The preset of the article's section 4 and its data; `changes` go into the spec's blocks."""
    document = article_section_4().model_dump(mode="json")
    for block, fields in ({"training": {"epochs": epochs}} | changes).items():
        document[block] = {**document[block], **fields}
    if "training" in changes:
        document["training"]["epochs"] = epochs
    digits = _digits()
    spec = resolve(TrainSpec.model_validate(document), digits.report).spec
    return spec, prepare(spec, digits)


@functools.cache
def _digits() -> Table:
    """Read once: a confined child does it, and a pack asks for its members' jobs one by one."""
    return load_sample("digits")


def make_job(epochs: int) -> Job:
    """The same rows, initial weights and orders as a run of the engine has."""
    spec, data = article(epochs)
    assert spec.loss.alpha == ALPHA
    assert getattr(spec.optimizer, "epsilon", None) == EPSILON
    assert isinstance(data.train, Part)
    assert isinstance(data.validation, Part)
    net = build_net(spec.net, data.preprocessing.shape, data.preprocessing.outputs, spec.training.seed)
    hidden, hidden_bias, output, output_bias = (parameter.detach().numpy() for parameter in net.parameters())
    return Job(
        x=data.train.inputs[0].numpy(),
        y=data.train.target.numpy(),
        x_validation=data.validation.inputs[0].numpy(),
        y_validation=data.validation.target.numpy(),
        order=np.stack([epoch_order(spec.training.seed, epoch, data.train.rows) for epoch in range(epochs)]),
        hidden=hidden,
        hidden_bias=hidden_bias,
        output=output,
        output_bias=output_bias,
    )


@dataclass(frozen=True)
class Outcome:
    """What a side's last weights are worth."""

    train_loss: float
    """Of all training rows as one batch."""
    validation_accuracy: float


def measure(job: Job, weights: Weights) -> Outcome:
    """One computation for all sides, in float64."""
    prediction = _forward(weights, job.x)
    squared = np.square(np.eye(10)[job.y] - prediction).sum(axis=1)
    variance = np.square(prediction).mean()
    loss = (squared / 2 + ALPHA * 0.5 * (np.log(variance) + squared / variance - 1)).mean()
    is_right = _forward(weights, job.x_validation).argmax(axis=1) == job.y_validation
    return Outcome(float(loss), float(is_right.mean()))


def _forward(weights: Weights, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    hidden, hidden_bias, output, output_bias = (part.astype(np.float64) for part in weights)
    shown: np.ndarray[Any, Any] = np.maximum(x @ hidden.T + hidden_bias, 0.0) @ output.T + output_bias
    return shown
