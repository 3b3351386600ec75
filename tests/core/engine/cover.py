"""A pairwise cover of what a run may be made of: every two choices of different kinds occur together in some run."""

from __future__ import annotations

import itertools

import numpy as np

from softreg_core.data.arrays import table_from_arrays
from softreg_core.data.tabular import prepare
from softreg_core.errors import SpecError
from softreg_core.nets.registry import NETS
from softreg_core.spec import TrainSpec, resolve

ROWS = 70
_NETS = {
    "mlp": ("table", {"kind": "mlp", "hidden": [8]}),
    "mlp with dropout": ("table", {"kind": "mlp", "hidden": [8, 6], "dropout": 0.3}),
    "mlp with batch norm": ("table", {"kind": "mlp", "hidden": [8], "norm": "batch"}),
    "linear": ("table", {"kind": "linear"}),
    "cnn": ("image", {"kind": "cnn", "channels": [4], "convolutions": 1, "dropout": 0.2}),
    "resnet": ("image", {"kind": "resnet", "width": 2, "dropout": 0.2}),
    "rnn": ("sequence", {"kind": "rnn", "hidden": 4, "layers": 2, "dropout": 0.2}),
    "gru of text": ("text", {"kind": "rnn", "cell": "gru", "hidden": 4, "embedding": 4, "dropout": 0.2}),
    "transformer": ("text", {"kind": "transformer", "width": 8, "layers": 1, "heads": 2, "dropout": 0.2}),
}
OPTIMIZERS = {
    "adam": {"kind": "adam", "learning_rate": 0.02},
    "adamw": {"kind": "adamw", "learning_rate": 0.02},
    "sgd": {"kind": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "rmsprop": {"kind": "rmsprop", "learning_rate": 0.005, "momentum": 0.5, "centered": True},
    "adagrad": {"kind": "adagrad"},
    "muon": {"kind": "muon", "learning_rate": 0.02},
}
SCHEDULES = {
    "constant": {},
    "warm-up": {"kind": "constant", "warm_up": 0.3},
    "cosine": {"kind": "cosine", "warm_up": 0.1},
    "one cycle": {"kind": "one_cycle"},
    "step": {"kind": "step", "every_epochs": 2, "factor": 0.5},
    "plateau": {"kind": "plateau", "patience": 1, "factor": 0.5, "monitor": "val.loss"},
}
LOSSES = {
    "article": ("values", {"alpha": 0.5}),
    "residual variance": (
        "values",
        {"alpha": 0.5, "divergence": {"kind": "inflation", "variance": {"kind": "residual"}}},
    ),
    "learned variance": (
        "values",
        {
            "alpha": 0.3,
            "divergence": {
                "kind": "gaussian",
                "direction": "target_to_prediction",
                "prediction_variance": "learned",
            },
        },
    ),
    "sample program": ("classes", {"alpha": 0.1, "divergence": {"kind": "sample_program"}}),
    "cross-entropy": ("classes", {"base": {"kind": "cross_entropy"}}),
    "changing alpha": (
        "classes",
        {
            "base": {"kind": "cross_entropy"},
            "alpha": {"kind": "cyclical", "value": 0.5, "cycles": 3},
            "divergence": {"kind": "uniform"},
        },
    ),
}
NOISES = {
    "none": {},
    "mixup": {"mixup": 0.4},
    "input noise": {"input_noise": 0.3},
    "label smoothing": {"label_smoothing": 0.1},
}
CONTROLS = {
    "none": {},
    "elastic net, clipped": {"penalties": {"l1": 0.001, "l2": 0.01}, "training": {"gradient_clip": 0.5}},
    "average": {"training": {"average_weights": {"decay": 0.8}}},
    "parts": {"training": {"accumulate": 3}},
    "early stopping": {"training": {"early_stopping": {"patience": 2, "monitor": "val.loss", "min_delta": 0.02}}},
    "class weights": {"training": {"class_weights": "balanced"}},
    "skip": {"training": {"on_nonfinite": "skip"}},
    "rewind": {"training": {"on_nonfinite": "rewind", "log_every": 3}},
}
COVERED = {net["kind"] for _, net in _NETS.values()}
FACTORS = {
    "net": {name: case for name, case in _NETS.items() if case[1]["kind"] in NETS},
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "loss": LOSSES,
    "noise": NOISES,
    "control": CONTROLS,
}


def pairwise(factors=None, seed=0):
    """Rows of choices, one of each factor; greedy: each row covers as many open pairs as forty draws find."""
    factors = FACTORS if factors is None else factors
    names = list(factors)
    left = {(a, x, b, y) for a, b in itertools.combinations(names, 2) for x in factors[a] for y in factors[b]}
    draw = np.random.default_rng(seed)
    rows = []
    while left:
        first = min(left)
        best, most = None, -1
        for _ in range(40):
            row = {name: list(factors[name])[draw.integers(len(factors[name]))] for name in names}
            row |= {first[0]: first[1], first[2]: first[3]}
            count = sum((a, row[a], b, row[b]) in left for a, b in itertools.combinations(names, 2))
            if count > most:
                best, most = row, count
        rows.append(best)
        left -= {(a, best[a], b, best[b]) for a, b in itertools.combinations(names, 2)}
    return rows


def _features(kind, draw):
    if kind == "table":
        return draw.normal(size=(ROWS, 5))
    if kind == "image":
        return draw.integers(0, 256, (ROWS, 8, 8), dtype=np.uint8)
    if kind == "sequence":
        return [draw.normal(size=(length, 2)) for length in draw.integers(1, 6, ROWS)]
    return ["".join("abcde"[letter] for letter in draw.integers(0, 5, length)) for length in draw.integers(1, 9, ROWS)]


def run_of(row):
    """A resolved spec and prepared data; what does not go together gives way: first the control, then the noise."""
    draw = np.random.default_rng(1)
    kind, net = FACTORS["net"][row["net"]]
    target, loss = LOSSES[row["loss"]]
    y = draw.integers(0, 3, ROWS) if target == "classes" else draw.normal(size=ROWS)
    table = table_from_arrays(_features(kind, draw), y)
    for noise, control in ((row["noise"], row["control"]), (row["noise"], "none"), ("none", "none")):
        more = CONTROLS[control]
        given = {
            "net": net,
            "optimizer": OPTIMIZERS[row["optimizer"]],
            "loss": loss,
            "penalties": NOISES[noise] | more.get("penalties", {}),
            "training": {"epochs": 4, "batch_size": 16} | more.get("training", {}),
            "checkpoints": {"every_epochs": 2},
        }
        if SCHEDULES[row["schedule"]]:
            given["schedule"] = SCHEDULES[row["schedule"]]
        try:
            spec = resolve(TrainSpec.model_validate(given), table.report).spec
        except SpecError:
            continue
        return spec, prepare(spec, table)
    raise AssertionError(f"{row} does not train even without noise and control")
