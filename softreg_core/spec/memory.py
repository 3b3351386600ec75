"""How much memory a training needs, before it begins and without torch.

An estimate from the shapes of layers: what autograd keeps of a batch until it goes back, what the optimiser keeps of
the parameters, and the rows themselves. tests/core/engine/test_memory.py holds it against measured peaks.
"""

# T steps or tokens, W width of a token

from __future__ import annotations

from typing import Literal, NamedTuple

from softreg_core.data.report import DatasetReport
from softreg_core.spec.beside import teacher_of
from softreg_core.spec.divergences import TeacherSpec
from softreg_core.spec.estimate import parameter_count, passes_per_step, rows_of_batch
from softreg_core.spec.heads import extra_outputs
from softreg_core.spec.inputs import InputShape
from softreg_core.spec.net import CnnSpec, MlpSpec, NetSpec, ResnetSpec, RnnSpec, TransformerSpec
from softreg_core.spec.optimizer import OptimizerSpec
from softreg_core.spec.task_input import ImageInput, InputSpec, SoundInput
from softreg_core.spec.train import TrainSpec
from softreg_core.spec.widths import flat_width, step_count, step_width
from softreg_core.spec.work import front_work, halved_places, work_per_row

__all__ = ["Memory", "bytes_of_decoded", "in_words", "kept_per_row", "memory_to_train", "passing_per_row"]

_FLOAT = 4
# Of the loss and the gradient ledger, for each output of a row: logits, logarithms, probabilities, and what autograd
# keeps of each.
_LOSS_NUMBERS = 6
# Evaluation takes this much at once, at most; softreg_core.evaluate.measure says why.
_EVALUATION_BYTES, _EVALUATION_ROWS = 2**28, 4096
# One product in half precision keeps half; norms, the loss and the casts between them keep float32.
_HALF = 0.6
_SMOOTH = ("gelu", "silu", "elu", "leaky_relu")


class Memory(NamedTuple):
    """Bytes, by what they are for."""

    weights: int
    """The parameters, their gradients, the optimiser's moments, and averaged or teaching copies."""
    batch: int
    """What is kept of a batch, or of a part of it, until its gradient is known; or of evaluation, if that is more."""
    data: int
    """The rows that lie on the device, and their copy in the order of an epoch."""

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self)

    def describe(self) -> str:
        """All three, in words."""
        named = {"weights and optimiser": self.weights, "a batch on its way": self.batch, "rows": self.data}
        return ", ".join(f"{in_words(size)} for {name}" for name, size in named.items())


def memory_to_train(
    spec: TrainSpec,
    shape: InputShape,
    outputs: int,
    train_rows: int,
    *,
    data: int = 0,
    accumulate: int | None = None,
    is_half: bool = False,
    is_on_host: bool = False,
    number_bytes: int = 4,
) -> Memory:
    """The peak of a run of the eager engine.

    Args:
        spec: resolved.
        shape: what the network takes.
        outputs: numbers that it predicts for a row.
        train_rows: of one epoch.
        data: bytes of the rows where they lie on the device.
        accumulate: in how many parts a batch goes through; the spec's when not given.
        is_half: whether products are in bfloat16.
        is_on_host: whether the states of the last and the best epoch lie in the same memory.
        number_bytes: of a number of weights, data and loss.
    """
    parts = spec.training.accumulate if accumulate is None else accumulate
    width = outputs + extra_outputs(spec.loss, outputs)
    parameters = parameter_count(spec.net, shape, width)
    rows = min(rows_of_batch(spec.training.batch_size, train_rows), max(1, train_rows))
    kept = kept_per_row(spec.net, shape, width) * passes_per_step(spec.loss) + _LOSS_NUMBERS * width
    # While it goes back, the largest layer's gradients lie beside what is kept.
    passing = passing_per_row(spec.net, shape, width)
    batch = int(number_bytes * -(-rows // parts) * (kept * (_HALF if is_half else 1.0) + passing))
    at_once = max(1, _EVALUATION_BYTES // (number_bytes * work_per_row(spec.net, shape, width).numbers))
    evaluated = number_bytes * (passing + _LOSS_NUMBERS * width) * min(_EVALUATION_ROWS, train_rows, at_once)
    # A state has all but the gradient.
    copies = _copies(spec) + 1 + 2 * is_on_host * _copies(spec)
    return Memory(number_bytes * parameters * copies, max(batch, evaluated), data)


def bytes_of_decoded(view: InputSpec | Literal["auto"], report: DatasetReport) -> int:
    """Of all rows, decoded, resized or resampled: what a small file may grow to; 0 where rows stay as they are.

    Args:
        view: `task.input`, resolved.
        report: of the dataset.
    """
    match view:
        case ImageInput(channels=int(channels), height=int(height), width=int(width)):
            of_row = channels * height * width
        case SoundInput(rate=int(rate), seconds=float(seconds)):
            longest = max((column.seconds[1] for column in report.columns if column.seconds), default=seconds)
            of_row = int(_FLOAT * rate * min(seconds, longest))
        case _:
            of_row = 0
    return of_row * report.rows


def in_words(size: float) -> str:
    """5.1 GB, 12 MB: powers of ten, as memory is sold and shown."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}" if size < 10 * scale else f"{size / scale:.0f} {unit}"
    return f"{size / 1e3:.0f} kB"


def _copies(spec: TrainSpec) -> int:
    """Numbers for each parameter, besides its gradient: itself, its moments, averaged and teaching copies of it."""
    teacher = teacher_of(spec.loss)
    is_followed = isinstance(teacher, TeacherSpec) and teacher.source.kind != "model"
    return 1 + _moments(spec.optimizer) + (spec.training.average_weights is not None) + is_followed


def _moments(optimizer: OptimizerSpec) -> int:
    match optimizer.kind:
        case "adam" | "adamw":
            return 2
        case "sgd":
            return int(optimizer.momentum > 0.0)
        case "rmsprop":
            return 2 + optimizer.centered + (optimizer.momentum > 0.0)  # with what is computed on the way
        case _:
            return 2


def passing_per_row(net: NetSpec, shape: InputShape, outputs: int) -> int:
    """Numbers of one row that come and go: gradients of the largest layer, or what the front computes on its way."""
    front = front_work(net, shape, outputs).numbers
    tokens = step_count(shape)
    match net:
        case CnnSpec() | ResnetSpec():
            return max(front, work_per_row(net, shape, outputs).numbers)
        case RnnSpec():
            return max(front, 4 * tokens * (1 + net.bidirectional) * net.hidden)
        case TransformerSpec():
            return max(front, 2 * tokens * net.width * max(3, net.expansion))
        case _:
            hidden = net.hidden if isinstance(net, MlpSpec) else ()
            return max(0 if shape.kind == "table" else front, 2 * max((*hidden, outputs)))


def kept_per_row(net: NetSpec, shape: InputShape, outputs: int) -> int:
    """Numbers that autograd keeps of one row, forward to backward, and what the front hands to the body."""
    match net:
        case CnnSpec():
            return _cnn(net, shape)
        case ResnetSpec():
            return _resnet(net, shape)
        case RnnSpec():
            return _rnn(net, shape)
        case TransformerSpec():
            return _transformer(net, shape)
        case MlpSpec():
            per_unit = _of_activation(net.activation, net.norm) + _of_dropout(net.dropout, net.activation)
            return _flat_front(shape, flat_width(shape)) + per_unit * sum(net.hidden) + outputs
        case _:
            return _flat_front(shape, outputs) + outputs


def _flat_front(shape: InputShape, width: int) -> int:
    match shape.kind:
        case "table":
            return width if shape.levels else 0
        case "text":
            return shape.longest * width
        case "image":
            return flat_width(shape)
        case _:
            return step_width(shape, 0)


def _of_activation(activation: str, norm: str) -> int:
    """Numbers kept of a unit: its norm's input, its activation's input where that is needed, what comes out."""
    return 1 + (norm != "none") + (activation in _SMOOTH)


def _of_dropout(rate: float, activation: str) -> int:
    """The mask, and what comes out, beside or instead of what the activation gave."""
    return (1 if activation in _SMOOTH else 2) if rate else 0


def _cnn(net: CnnSpec, shape: InputShape) -> int:
    per_place = _of_activation(net.activation, net.norm)
    channels, places = halved_places(shape, 0)
    count = channels * places
    for stage, after in enumerate(net.channels):
        _, places = halved_places(shape, stage)
        count += net.convolutions * per_place * places * after
        if stage + 1 < len(net.channels):  # pooling: what comes out, and from where, an int64 for each
            count += 3 * halved_places(shape, stage + 1)[1] * after
    return count


def _resnet(net: ResnetSpec, shape: InputShape) -> int:
    channels, places = halved_places(shape, 0)
    blocks = (net.depth - 2) // 6
    count = channels * places + 2 * places * net.width
    for stage, after in enumerate((net.width, 2 * net.width, 4 * net.width)):
        count += 4 * blocks * halved_places(shape, stage)[1] * after
    return count


def _rnn(net: RnnSpec, shape: InputShape) -> int:
    steps, directions = step_count(shape), 1 + net.bidirectional
    before = step_width(shape, net.embedding)
    count = 2 * steps * before
    # Of each step: the gates, before and after, what is remembered, what comes out.
    per_unit = 13 if net.cell == "lstm" else 8
    beside = (net.norm != "none") + 2 * (net.dropout > 0.0)
    for _ in range(net.layers):
        after = directions * net.hidden
        turned = before + 2 * after if net.bidirectional else 0
        count += steps * (turned + (per_unit + beside) * after)
        before = after
    return count


def _transformer(net: TransformerSpec, shape: InputShape) -> int:
    tokens, width = step_count(shape), net.width
    drops = int(net.dropout > 0.0)
    # Norm, queries, keys and values, attention twice, the sum; norm and sum of the hidden ones.
    layer = width * (9 + 2 * drops) + net.heads
    hidden = _of_activation(net.activation, "none") + _of_dropout(net.dropout, net.activation)
    layer += net.expansion * width * hidden
    return tokens * (width * (3 + drops) + net.layers * layer)
