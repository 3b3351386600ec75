"""Every kind of network with every kind of data that it takes, and batches to call it with."""

from __future__ import annotations

import torch

from softreg_core.spec import TrainSpec
from softreg_core.spec.inputs import ImageShape, SequenceShape, SoundShape, TableShape, TextShape
from softreg_core.spec.net_fit import TAKES

SHAPES = {
    "numbers": TableShape(numbers=5),
    "categories": TableShape(numbers=0, levels=(3, 1, 70)),
    "both": TableShape(numbers=2, levels=(4,)),
    "image": ImageShape(channels=3, height=9, width=6),
    "sequence": SequenceShape(channels=4, longest=12),
    "text": TextShape(vocabulary=30, longest=12),
    "sound": SoundShape(rate=800, longest=600, window=64, hop=25, mels=9),
}
OPTIONS = {
    "linear": [{}, {"initialization": "glorot_uniform"}],
    "mlp": [{}, {"hidden": [7, 5], "norm": "batch", "dropout": 0.2}, {"hidden": [], "norm": "layer"}],
    "cnn": [
        {"channels": [5, 6, 7]},
        {"channels": [4], "convolutions": 1, "norm": "none", "activation": "gelu"},
        {"channels": [4, 4], "norm": "layer", "dropout": 0.3},
    ],
    "resnet": [{"width": 3}, {"width": 4, "depth": 32, "norm": "layer", "initialization": "torch"}],
    "rnn": [
        {"hidden": 6},
        {"hidden": 5, "cell": "gru", "pooling": "last", "initialization": "orthogonal"},
        {"hidden": 4, "layers": 2, "bidirectional": False, "pooling": "last", "norm": "layer", "dropout": 0.2},
    ],
    "transformer": [{"width": 8, "heads": 2}, {"width": 6, "heads": 3, "layers": 1, "dropout": 0.0, "expansion": 1}],
}


def net_of(kind, **options):
    return TrainSpec.model_validate({"net": {"kind": kind, **options}}).net


CASES = [
    (f"{kind}-{number}-{name}", net_of(kind, **options), shape)
    for kind, variants in OPTIONS.items()
    for number, options in enumerate(variants)
    for name, shape in SHAPES.items()
    if shape.kind in TAKES[kind]
]
FIRST = [case for case in CASES if "-0-" in case[0]]
"""One network of each kind with each kind of data."""
STEPPED = [case for case in CASES if case[2].kind in ("sequence", "text", "sound")]


def batch(shape, rows=4, seed=0, longest=None, lengths=None):
    """Inputs as a dataset would give them: beyond each row's length zeros."""
    generator = torch.Generator().manual_seed(seed)
    match shape.kind:
        case "table":
            codes = [torch.randint(level, (rows,), generator=generator) for level in shape.levels]
            numbers = torch.randn(rows, shape.numbers, generator=generator)
            return (*((numbers,) if shape.numbers else ()), *((torch.stack(codes, 1),) if codes else ()))
        case "image":
            size = (rows, shape.channels, shape.height, shape.width)
            return (torch.randint(256, size, generator=generator, dtype=torch.uint8),)
    longest = longest or shape.longest
    if lengths is None:
        lengths = [longest, 1, *torch.randint(1, longest + 1, (rows,), generator=generator).tolist()][:rows]
    lengths = torch.tensor(lengths)
    inside = torch.arange(longest) < lengths.unsqueeze(1)
    match shape.kind:
        case "sequence":
            values = torch.randn(len(lengths), longest, shape.channels, generator=generator) * inside.unsqueeze(2)
        case "text":
            values = torch.randint(2, shape.vocabulary, (len(lengths), longest), generator=generator) * inside
        case _:
            values = torch.randn(len(lengths), longest, generator=generator).clamp(-1, 1) * inside * 0.3
    return values, lengths
