"""What one row costs a network: multiplications and memory, without building it.

Estimates: they decide how many threads a step is worth and how many rows are evaluated at once, and no more.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

from softreg_core.spec.inputs import InputShape
from softreg_core.spec.net import CnnSpec, MlpSpec, NetSpec, ResnetSpec, RnnSpec, TransformerSpec
from softreg_core.spec.widths import embedding_width, flat_width, frames, step_count, step_width

__all__ = ["Work", "front_work", "halved_places", "work_per_row"]


class Work(NamedTuple):
    """Of one row, forward, as long as the longest."""

    multiplications: int
    numbers: int
    """What is in memory at a time, at most: inputs and outputs of the largest layer."""


def work_per_row(net: NetSpec, shape: InputShape, outputs: int) -> Work:
    """Front and body of a network that takes such inputs."""
    front = front_work(net, shape, outputs)
    body = _body(net, shape, outputs)
    return Work(front.multiplications + body.multiplications, max(front.numbers, body.numbers))


def front_work(net: NetSpec, shape: InputShape, outputs: int) -> Work:
    """From a batch's tensors to what the body takes."""
    match shape.kind:
        case "table":
            return Work(0, shape.numbers + len(shape.levels))
        case "image":
            return Work(0, 3 * shape.channels * shape.height * shape.width)
        case "text":
            width = {"linear": outputs, "mlp": embedding_width(shape.vocabulary)}.get(net.kind, 0)
            return Work(0, 3 * shape.longest * width)
        case "sequence":
            return Work(0, 3 * shape.longest * shape.channels)
        case _:
            count, waves = frames(shape, shape.longest), shape.window // 2 + 1
            each = 2 * shape.window * waves + waves * shape.mels
            return Work(count * each, count * (shape.window + 4 * waves))


def _body(net: NetSpec, shape: InputShape, outputs: int) -> Work:
    match net:
        case CnnSpec():
            return _cnn(net, shape)
        case ResnetSpec():
            return _resnet(net, shape)
        case RnnSpec():
            return _rnn(net, shape)
        case TransformerSpec():
            return _transformer(net, shape)
        case _:
            hidden = net.hidden if isinstance(net, MlpSpec) else ()
            widths = [flat_width(shape), *hidden, outputs]
            return Work(sum(before * after for before, after in itertools.pairwise(widths)), 3 * max(widths))


def halved_places(shape: InputShape, halvings: int) -> tuple[int, int]:
    """Channels of a map, and its places after so many halvings of its sides."""
    if shape.kind == "image":
        channels, sides = shape.channels, (shape.height, shape.width)
    else:
        channels, sides = 1, (step_count(shape), step_width(shape, 0))
    height, width = (-(-side // 2**halvings) for side in sides)
    return channels, height * width


def _cnn(net: CnnSpec, shape: InputShape) -> Work:
    (before, _), count, largest = halved_places(shape, 0), 0, 0
    for stage, after in enumerate(net.channels):
        _, places = halved_places(shape, stage)
        count += 9 * places * after * (before + (net.convolutions - 1) * after)
        largest = max(largest, 3 * places * max(before, after))
        before = after
    return Work(count, largest)


def _resnet(net: ResnetSpec, shape: InputShape) -> Work:
    (channels, places), blocks = halved_places(shape, 0), (net.depth - 2) // 6
    before, count = net.width, 9 * places * channels * net.width
    for stage, after in enumerate((net.width, 2 * net.width, 4 * net.width)):
        _, places = halved_places(shape, stage)
        count += 9 * places * after * (before + (2 * blocks - 1) * after)
        before = after
    return Work(count, 4 * halved_places(shape, 0)[1] * max(channels, net.width))


def _rnn(net: RnnSpec, shape: InputShape) -> Work:
    steps, directions, gates = step_count(shape), 1 + net.bidirectional, 4 if net.cell == "lstm" else 3
    before, count = step_width(shape, net.embedding), 0
    for _ in range(net.layers):
        count += steps * directions * gates * net.hidden * (before + net.hidden)
        before = directions * net.hidden
    widest = max(step_width(shape, net.embedding), (gates + 2 * directions) * net.hidden)
    return Work(count, 2 * steps * widest)


def _transformer(net: TransformerSpec, shape: InputShape) -> Work:
    tokens, width = step_count(shape), net.width
    layer = (4 + 2 * net.expansion) * width * width + 2 * tokens * width
    front = 0 if shape.kind in ("table", "text") else step_width(shape, 0) * width
    numbers = tokens * (width * (3 + max(4, 2 * net.expansion)) + net.heads * tokens)
    return Work(tokens * (net.layers * layer + front), numbers)
