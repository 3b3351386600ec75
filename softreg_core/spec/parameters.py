"""How many numbers each kind of network learns, without building it; docs/networks.md has the formulas."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from softreg_core.spec.inputs import InputShape
from softreg_core.spec.net import CnnSpec, LinearSpec, MlpSpec, ResnetSpec, RnnSpec, TransformerSpec
from softreg_core.spec.widths import embedding_width, flat_width, step_width

__all__ = ["COUNTS"]


def _dense(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def _norm(kind: str, channels: int) -> int:
    return 0 if kind == "none" else 2 * channels


def _linear(net: LinearSpec, shape: InputShape, outputs: int) -> int:  # noqa: ARG001  one signature for all
    match shape.kind:
        case "table":
            return _dense(shape.numbers + sum(shape.levels), outputs)
        case "text":
            return _dense(shape.vocabulary, outputs)
        case _:
            return _dense(flat_width(shape), outputs)


def _mlp(net: MlpSpec, shape: InputShape, outputs: int) -> int:
    embedded: tuple[int, ...] = ()
    if shape.kind == "table":
        embedded = shape.levels
    elif shape.kind == "text":
        embedded = (shape.vocabulary,)
    widths = [flat_width(shape), *net.hidden, outputs]
    layers = sum(_dense(before, after) for before, after in itertools.pairwise(widths))
    return sum(levels * embedding_width(levels) for levels in embedded) + _norm(net.norm, sum(net.hidden)) + layers


def _cnn(net: CnnSpec, shape: InputShape, outputs: int) -> int:
    before, count = _image_channels(shape), 0
    for after in net.channels:
        for _ in range(net.convolutions):
            # A norm has a bias of its own, so that the convolution before it has none.
            count += 9 * before * after + (after if net.norm == "none" else _norm(net.norm, after))
            before = after
    return count + _dense(before, outputs)


def _resnet(net: ResnetSpec, shape: InputShape, outputs: int) -> int:
    blocks, width = (net.depth - 2) // 6, net.width
    count = 9 * _image_channels(shape) * width + _norm(net.norm, width)
    before = width
    for after in (width, 2 * width, 4 * width):
        first = 9 * before * after
        count += first + (2 * blocks - 1) * 9 * after * after + 2 * blocks * _norm(net.norm, after)
        before = after
    return count + _dense(before, outputs)


def _rnn(net: RnnSpec, shape: InputShape, outputs: int) -> int:
    directions, gates = 1 + net.bidirectional, 4 if net.cell == "lstm" else 3
    before = step_width(shape, net.embedding)
    count = shape.vocabulary * net.embedding if shape.kind == "text" else 0
    for _ in range(net.layers):
        count += directions * gates * net.hidden * (before + net.hidden + 2)
        before = directions * net.hidden
        count += _norm(net.norm, before)
    return count + _dense(before, outputs)


def _transformer(net: TransformerSpec, shape: InputShape, outputs: int) -> int:
    width, hidden = net.width, net.expansion * net.width
    match shape.kind:
        case "table":
            front = width * (2 * shape.numbers + sum(shape.levels) + 1)
        case "text":
            front = shape.vocabulary * width
        case _:
            front = _dense(step_width(shape, width), width)
    attention = _dense(width, 3 * width) + _dense(width, width)
    layer = 2 * _norm("layer", width) + attention + _dense(width, hidden) + _dense(hidden, width)
    return front + net.layers * layer + _norm("layer", width) + _dense(width, outputs)


def _image_channels(shape: InputShape) -> int:
    """A log-mel spectrum is an image of one channel."""
    return shape.channels if shape.kind == "image" else 1


COUNTS: dict[str, Callable[[Any, InputShape, int], int]] = {
    "linear": _linear,
    "mlp": _mlp,
    "cnn": _cnn,
    "resnet": _resnet,
    "rnn": _rnn,
    "transformer": _transformer,
}
